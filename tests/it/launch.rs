//! What stands in launch/ can be read by those who read it. (The TOML files: `config::tests`.)

use std::path::Path;

fn launch(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("launch").join(name)
}

#[test]
fn the_zenoh_configuration_is_one_zenoh_accepts() {
    let config = zenoh::Config::from_file(launch("zenoh.json5")).expect("zenoh reads it");
    let listen = config.get_json("listen/endpoints").expect("listens");
    assert!(listen.contains("tcp/0.0.0.0:7447"), "{listen}");
    assert_eq!(config.get_json("transport/link/tx/lease").expect("lease"), "1000");
}

#[test]
fn the_unit_and_the_container_run_launch_files_that_exist() {
    for name in ["maskcast.service", "Containerfile"] {
        let text = std::fs::read_to_string(launch(name)).expect(name);
        assert!(text.contains("launch/network.toml"), "{name}");
        // Scripts that are named must be there.
        for script in text
            .split_whitespace()
            .filter(|w| w.starts_with("launch/") && w.ends_with(".sh"))
        {
            assert!(
                launch(script.trim_start_matches("launch/")).is_file(),
                "{name}: {script}"
            );
        }
    }
    assert!(launch("network.toml").is_file());
}
