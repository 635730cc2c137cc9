use super::*;
use crate::model::golden;

#[test]
fn our_own_file_comes_back_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let recipe = golden::write_engine(dir.path());
    let folder = dir.path().join("out");
    let import = Import {
        files: &[dir.path().join("golden.safetensors")],
        format: Format::Safetensors,
        recipe: &recipe,
        folder: &folder,
        classes: None,
    };
    let imported = import.run().unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(imported.recipe, folder.join("golden.toml"));
    let facts = imported.facts.unwrap();
    assert_eq!((facts.classes, facts.fpn_width, facts.representation_size), (3, 32, 64));
    let before = Weights::read(&dir.path().join("golden.safetensors")).unwrap();
    let after = Weights::read(&imported.weights).unwrap();
    let written = Recipe::read(&imported.recipe).unwrap();
    assert_eq!(written.weights.sha256, Some(after.sha256()));
    assert_eq!(written.classes, ["a", "b", "c"]);
    assert_eq!(imported.untested, None);
    assert_eq!(written.self_test, Some(folder.join("golden.self-test.json")));
    assert!(
        written
            .weights
            .origin
            .starts_with("golden.safetensors (safetensors, SHA-256 ")
    );
    let name = "backbone.body.conv1.weight";
    let take = |mut weights: Weights| weights.take(name, &[64, 3, 7, 7]).unwrap();
    assert_eq!(take(before), take(after));

    let onto_itself = Import {
        folder: dir.path(),
        ..import.clone()
    };
    let refused = onto_itself.run().unwrap_err().to_string();
    let elsewhere = Import {
        format: Format::Detectron2,
        ..import.clone()
    };
    let other = elsewhere.run().unwrap_err().to_string();
    assert!(
        other.contains("a recipe for weights of torchvision, and these are of detectron2"),
        "{other}"
    );
    let onto_the_checkpoint = Import {
        files: &[folder.join("golden.safetensors")],
        ..import.clone()
    };
    let other = onto_the_checkpoint.run().unwrap_err().to_string();
    assert!(other.contains("this is the checkpoint that was read"), "{other}");
    let twice = ["a", "a", "b"].map(str::to_owned);
    let misnamed = Import {
        classes: Some(&twice),
        ..import.clone()
    };
    let before = std::fs::read(folder.join("golden.toml")).unwrap();
    assert!(misnamed.run().unwrap_err().to_string().contains("\"a\" twice"));
    assert_eq!(std::fs::read(folder.join("golden.toml")).unwrap(), before);
    assert!(refused.contains("this is the recipe that was read"), "{refused}");
}

#[test]
fn fine_tuned_class_counts_are_read_from_the_tensors() {
    let dir = tempfile::tempdir().unwrap();
    let recipe = golden::write_engine(dir.path());
    let text = std::fs::read_to_string(&recipe).unwrap();
    std::fs::write(
        &recipe,
        text.replace("classes = [\"a\", \"b\", \"c\"]", "classes = [\"one\"]"),
    )
    .unwrap();
    let folder = dir.path().join("out");
    let files = [dir.path().join("golden.safetensors")];
    let run = |classes: Option<&[String]>| {
        Import {
            files: &files,
            format: Format::Safetensors,
            recipe: &recipe,
            folder: &folder,
            classes,
        }
        .run()
    };
    let imported = run(None).unwrap();
    assert!(imported.classes_without_names);
    assert_eq!(
        Recipe::read(&imported.recipe).unwrap().classes,
        ["class 1", "class 2", "class 3"]
    );
    let names = ["x", "y", "z"].map(str::to_owned);
    let imported = run(Some(&names)).unwrap();
    assert!(!imported.classes_without_names);
    assert_eq!(Recipe::read(&imported.recipe).unwrap().classes, names);
    let refused = run(Some(&names[..2])).unwrap_err().to_string();
    assert_eq!(refused, "2 class names for the 3 classes of the checkpoint");
}

#[test]
fn ranges_and_self_test_of_other_weights_are_not_taken_over() {
    let dir = tempfile::tempdir().unwrap();
    let recipe = golden::write_engine(dir.path());
    let text = std::fs::read_to_string(&recipe).unwrap();
    let executor = "precision = \"int8\"\nscale_table = \"old.toml\"\nself_test = \"old.json\"";
    std::fs::write(&recipe, text.replace("precision = \"f32\"", executor)).unwrap();
    let import = Import {
        files: &[dir.path().join("golden.safetensors")],
        format: Format::Safetensors,
        recipe: &recipe,
        folder: &dir.path().join("out"),
        classes: None,
    };
    let written = Recipe::read(&import.run().unwrap_or_else(|e| panic!("{e}")).recipe).unwrap();
    assert_eq!((written.precision, written.scale_table), (Precision::Bf16, None));
    assert_eq!(written.self_test, Some(dir.path().join("out/golden.self-test.json")));
}

#[test]
fn nothing_is_written_of_a_checkpoint_that_does_not_fit() {
    let dir = tempfile::tempdir().unwrap();
    let recipe = golden::write_engine(dir.path());
    let text = std::fs::read_to_string(&recipe).unwrap();
    std::fs::write(&recipe, text.replace("resnet18", "resnet34")).unwrap();
    let folder = dir.path().join("out");
    let file = dir.path().join("golden.safetensors");
    let run = |files: &[PathBuf]| {
        let import = Import {
            files,
            format: Format::Torchvision,
            recipe: &recipe,
            folder: &folder,
            classes: None,
        };
        import.run().map(|_| ()).unwrap_err().to_string()
    };
    let refused = run(std::slice::from_ref(&file));
    assert!(
        refused.contains("golden.safetensors: tensor \"backbone.body.layer1.2.conv1.weight\" of shape [24, 24, 3, 3] is missing, the nearest name is"),
        "{refused}"
    );
    let twice = run(&[file.clone(), file]);
    assert!(
        twice.contains("tensor \"backbone.body.bn1.bias\" is also in"),
        "{twice}"
    );
    assert_eq!(run(&[]), "no file of weights was given");
    assert!(!folder.exists());
}

#[test]
fn an_engine_that_computes_something_else_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let recipe = golden::write_engine(dir.path());
    let folder = dir.path().join("out");
    let import = Import {
        files: &[dir.path().join("golden.safetensors")],
        format: Format::Safetensors,
        recipe: &recipe,
        folder: &folder,
        classes: None,
    };
    let imported = import.run().unwrap_or_else(|e| panic!("{e}"));
    let load = |precision| {
        let options = Options {
            precision: Some(precision),
            ..Options::default()
        };
        MaskRcnn::load(&imported.recipe, &options).map(|net| net.self_test_result().cloned())
    };
    let exact = load(Precision::F32).unwrap().unwrap();
    assert!(exact.error < 1e-5, "{exact:?}");
    let rough = load(Precision::Bf16).unwrap().unwrap();
    assert!(rough.error < rough.limit, "{rough:?}");

    let file = folder.join("golden.self-test.json");
    let mut stored: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    for value in stored["outputs"]["box_head/logits"].as_array_mut().unwrap() {
        *value = serde_json::json!(-value.as_f64().unwrap());
    }
    std::fs::write(&file, stored.to_string()).unwrap();
    let refused = load(Precision::Bf16).unwrap_err().to_string();
    // Twice its size, but for the rounding of bf16, which processors do differently.
    let off = refused
        .split_once("golden.self-test.json failed: box_head/logits is off by ")
        .map(|(_, rest)| rest);
    let off: f64 = off
        .and_then(|rest| rest.split(' ').next()?.parse().ok())
        .unwrap_or(f64::NAN);
    assert!((off - 2.0).abs() < 0.02, "{refused}");
    std::fs::write(&file, "{}").unwrap();
    let refused = load(Precision::F32).unwrap_err().to_string();
    assert!(
        refused.contains("golden.self-test.json: missing field `outputs`"),
        "{refused}"
    );
}
