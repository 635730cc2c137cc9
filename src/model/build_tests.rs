//! Int8 end to end on the golden network: calibrate, load, build.

use std::collections::BTreeMap;

use super::*;
use crate::engine::Digest;
use crate::engine::quantize::{Data, Method, ScaleTable};
use crate::model::{MaskRcnn, Masks, Options, golden};
use crate::preprocess::{Normalise, Preprocessor};

fn options(precision: Precision) -> Options {
    Options {
        precision: Some(precision),
        threads: Some(2),
        ..Options::default()
    }
}

fn load(recipe: &Path, precision: Precision) -> Result<MaskRcnn, String> {
    MaskRcnn::load(recipe, &options(precision)).map_err(|e| e.to_string())
}

/// Detections (class, score, x0) and the mean of all masks.
fn see(net: &mut MaskRcnn) -> (Vec<(u32, f32, f32)>, f32) {
    let image = golden::picture();
    let (mean, std) = net.rgb_mean_std();
    let fit = net.fit(image.size).unwrap();
    let mut preprocessor = Preprocessor::new(Normalise { mean, std }, net.resampling());
    let input = net.input_mut(fit.network, 1).unwrap();
    preprocessor.run(&image, &fit, input).unwrap();
    let found = net.infer(fit.resized, Masks::Yes).unwrap();
    let masks = found.masks.unwrap().probabilities();
    let mean = masks.iter().sum::<f32>() / masks.len() as f32;
    let detections = found.detections.iter().map(|d| (d.class_id, d.score, d.bounds.x0));
    (detections.collect(), mean)
}

fn data() -> Data {
    Data {
        source: "golden".into(),
        frames: 1,
        seed: 7,
    }
}

fn calibrated(recipe: &Path) -> ScaleTable {
    let options = options(Precision::Int8); // calibrated in f32 whatever is asked for
    let mut net = MaskRcnn::load_to_calibrate(recipe, Method::Max, &options).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(net.identity().executor.precision, Precision::F32);
    see(&mut net);
    net.into_scale_table(data(), BTreeMap::new()).unwrap()
}

/// A recipe that names `table`, in a folder.
fn with_table(dir: &Path, table: &ScaleTable) -> PathBuf {
    let recipe = golden::write_engine(dir);
    let text = std::fs::read_to_string(&recipe).unwrap();
    std::fs::write(&recipe, text + "scale_table = \"golden.int8.toml\"\n").unwrap();
    table.write(&dir.join("golden.int8.toml")).unwrap();
    recipe
}

fn native_int8() -> bool {
    crate::engine::openvino::probe()
        .unwrap_or_else(|e| panic!("{e}"))
        .native_int8
}

#[test]
fn a_calibrated_engine_answers_nearly_the_same_in_8_bits() {
    let dir = tempfile::tempdir().unwrap();
    let table = calibrated(&golden::write_engine(dir.path()));
    assert_eq!(table.data, data());
    for tensor in [
        "trunk/image",
        "trunk/backbone.fpn.add.0",
        "box_head/rois",
        "mask_head/rois",
    ] {
        assert!(
            table.activations.contains_key(tensor),
            "{tensor}: {:?}",
            table.activations.keys()
        );
    }
    assert!(
        std::fs::read_dir(dir.path()).unwrap().count() == 2,
        "nothing was written"
    );
    let recipe = with_table(dir.path(), &table);
    let (float, float_mask) = see(&mut load(&recipe, Precision::F32).unwrap());
    let mut net = load(&recipe, Precision::Int8).unwrap();
    let (int8, int8_mask) = see(&mut net);
    // Weights of noise have scores that hang on little: the best of them must stay.
    let best = |found: &[(u32, f32, f32)]| found.iter().filter(|d| d.1 > 0.9).count();
    let (want, got) = (best(&float) as f32, best(&int8) as f32);
    assert!((got - want).abs() <= 0.35 * want, "{want} {got}");
    assert!((float_mask - int8_mask).abs() < 0.05, "{float_mask} {int8_mask}");

    let identity = net.identity();
    if native_int8() {
        assert_eq!(identity.executor.precision, Precision::Int8);
        let digest = format!("\"scale_table_sha256\":\"{}\"", table.digest());
        assert!(identity.canonical_json.contains(&digest), "{}", identity.canonical_json);
        assert!(
            net.parts_text().contains("layers with weights in int8"),
            "{}",
            net.parts_text()
        );
    } else {
        assert_ne!(identity.executor.precision, Precision::Int8);
        assert!(!identity.canonical_json.contains("scale_table"));
    }
    let float = load(&recipe, Precision::F32).unwrap();
    assert!(!float.identity().canonical_json.contains("scale_table"));
    assert!(!float.parts_text().contains("int8"));
}

/// Inputs of another number of pictures and mask heads of every batch come out of the same table.
#[test]
fn each_batch_is_in_8_bits() {
    let dir = tempfile::tempdir().unwrap();
    let table = calibrated(&golden::write_engine(dir.path()));
    let mut net = load(&with_table(dir.path(), &table), Precision::Int8).unwrap();
    let (alone, _) = see(&mut net);
    let image = golden::picture();
    let (mean, std) = net.rgb_mean_std();
    let fit = net.fit(image.size).unwrap();
    let mut preprocessor = Preprocessor::new(Normalise { mean, std }, net.resampling());
    let input = net.input_mut(fit.network, 2).unwrap();
    let half = input.len() / 2;
    preprocessor.run(&image, &fit, &mut input[half..]).unwrap();
    input[..half].fill(0.0);
    net.run().unwrap();
    let found = net.inference(1, fit.resized, Masks::Yes).unwrap();
    assert_eq!(found.detections.len(), alone.len());
    for (got, want) in found.detections.iter().zip(&alone) {
        assert!(
            got.class_id == want.0 && (got.score - want.1).abs() < 0.02,
            "{got:?} {want:?}"
        );
    }
}

#[test]
fn int8_without_a_table_of_this_engine_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let recipe = golden::write_engine(dir.path());
    let refused = |recipe: &Path| load(recipe, Precision::Int8).map(|_| ()).unwrap_err();
    let text = refused(&recipe);
    assert!(
        text.starts_with("engine \"golden\" names no executor.scale_table, which int8 needs"),
        "{text}"
    );

    let table = calibrated(&recipe);
    let recipe = with_table(dir.path(), &table);
    let file = dir.path().join("golden.int8.toml");
    let foreign = ScaleTable {
        weights_sha256: Digest([1; 32]),
        ..table.clone()
    };
    foreign.write(&file).unwrap();
    let text = refused(&recipe);
    assert!(text.contains("golden.int8.toml: made for weights 0101"), "{text}");
    load(&recipe, Precision::Bf16).unwrap(); // which does not look at it
    let foreign = ScaleTable {
        network_sha256: Digest([1; 32]),
        ..table.clone()
    };
    foreign.write(&file).unwrap();
    assert!(refused(&recipe).contains("golden.int8.toml: made for network 0101"));
    if native_int8() {
        let mut short = table;
        short.activations.remove("mask_head/rois");
        short.write(&file).unwrap();
        let text = refused(&recipe);
        assert!(
            text.contains("golden.int8.toml: the scale table has no range for \"mask_head/rois\""),
            "{text}"
        );
    }
    std::fs::remove_file(&file).unwrap();
    assert!(refused(&recipe).contains("golden.int8.toml: No such file"));
}

#[test]
fn a_calibration_that_saw_nothing_is_no_table() {
    let dir = tempfile::tempdir().unwrap();
    let recipe = golden::write_engine(dir.path());
    let watched = MaskRcnn::load_to_calibrate(&recipe, Method::Max, &options(Precision::F32)).unwrap();
    let nothing = watched
        .into_scale_table(data(), BTreeMap::new())
        .unwrap_err()
        .to_string();
    assert_eq!(
        nothing,
        "box_head saw nothing: show pictures in which the network finds objects"
    );
    let plain = load(&recipe, Precision::F32).unwrap();
    let error = plain.into_scale_table(data(), BTreeMap::new()).unwrap_err().to_string();
    assert_eq!(error, "the engine was not loaded for it");
}

#[test]
fn a_built_engine_is_loaded_from_its_own_folder() {
    let dir = tempfile::tempdir().unwrap();
    let table = calibrated(&golden::write_engine(dir.path()));
    let recipe = with_table(dir.path(), &table);
    let folder = dir.path().join("out/int8");
    let build = |recipe: &Path, precision| {
        let build = Build {
            recipe,
            precision,
            folder: &folder,
        };
        build.run().map_err(|e| e.to_string())
    };
    let built = build(&recipe, Precision::Int8).unwrap();
    assert_eq!(built.recipe, folder.join("golden-int8.toml"));
    let names: Vec<String> = ["trunk", "box_head", "mask_head"]
        .iter()
        .flat_map(|part| ["onnx", "txt"].map(|ending| format!("golden-int8.{part}.{ending}")))
        .collect();
    assert_eq!(
        built.parts,
        names.iter().map(|name| folder.join(name)).collect::<Vec<_>>()
    );
    let trunk = std::fs::read(folder.join("golden-int8.trunk.onnx")).unwrap();
    assert!(trunk.windows(14).any(|w| w == b"QuantizeLinear"));
    let text = std::fs::read_to_string(folder.join("golden-int8.mask_head.txt")).unwrap();
    assert!(text.contains("6 of 6 layers with weights in int8"), "{text}");

    let written = Recipe::read(&built.recipe).unwrap();
    assert_eq!(written.precision, Precision::Int8);
    let text = std::fs::read_to_string(&built.recipe).unwrap();
    assert!(text.contains("file = \"../../golden.safetensors\""), "{text}");
    assert!(text.contains("scale_table = \"../../golden.int8.toml\""), "{text}");
    let own = MaskRcnn::load(&built.recipe, &Options::default()).unwrap();
    let same = load(&recipe, Precision::Int8).unwrap();
    assert_eq!(own.identity(), same.identity());

    let float = build(&recipe, Precision::F32).unwrap();
    assert_eq!(float.recipe, folder.join("golden-f32.toml"));
    let trunk = std::fs::read(folder.join("golden-f32.trunk.onnx")).unwrap();
    assert!(!trunk.windows(14).any(|w| w == b"QuantizeLinear"));

    let plain = golden::write_engine(dir.path());
    assert!(
        build(&plain, Precision::Int8)
            .unwrap_err()
            .contains("names no executor.scale_table")
    );
}
