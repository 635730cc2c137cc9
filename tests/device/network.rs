//! The whole program on the stand-ins: from a picture to instances and messages, held against the processor's engine.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use maskcast::config::Executor;
use maskcast::engine::Precision;
use maskcast::evaluate::Detected;
use maskcast::evaluate::agreement::{Agreement, PictureAgreement, Rules};
use maskcast::frame::{Image, PixelFormat};
use maskcast::geometry::{ImageSize, Tiling};
use maskcast::instances::{Instance, Limits};
use maskcast::model::Options;
use maskcast::pipeline::{Asked, Choice, Engine, MaskBranch, Segmenter, Ticket};
use maskcast::source::{Orientation, read_still};
use maskcast::time::SystemClocks;

fn root() -> PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from)
}

fn conveyor() -> PathBuf {
    root().join("engines/conveyor.toml")
}

/// The program in a process where the stand-in is the driver.
fn program(arguments: &[&str], cudnn: bool) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_maskcast"));
    let folder = std::env::var_os("MASKCAST_CUDA_STANDIN").expect("set by make test");
    command
        .args(arguments)
        .env("LD_LIBRARY_PATH", folder)
        .current_dir(root());
    if !cudnn {
        command.env("MASKCAST_CUDNN_DIR", "/nonexistent");
    }
    command.output().expect("the program runs")
}

fn pictures(count: usize) -> Vec<Image> {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().to_str().unwrap();
    let made = program(
        &["synth", "--seed", "4711", "--count", &count.to_string(), "--out", out],
        true,
    );
    assert!(made.status.success(), "{made:?}");
    let picture = |i: usize| dir.path().join(format!("images/{i:06}.jpg"));
    let read = |path: PathBuf| read_still(&path, Orientation::AsStored).unwrap();
    (1..=count).map(|i| read(picture(i))).collect()
}

fn load(executor: Executor, cameras: usize, score_threshold: f32) -> Engine {
    super::standin();
    let limits = Limits {
        score_threshold,
        max_instances: usize::MAX,
    };
    let precision = (executor == Executor::Cpu).then_some(Precision::F32);
    let choice = Choice {
        executor,
        options: Options {
            precision,
            ..Options::default()
        },
        cameras,
    };
    Engine::load(&conveyor(), limits, &choice).unwrap_or_else(|e| panic!("{e}"))
}

fn find(engine: &mut Engine, image: &Image) -> Vec<Instance> {
    engine.find(image, MaskBranch::Run, &SystemClocks).unwrap().instances
}

#[test]
fn the_gpu_finds_what_the_processor_finds() {
    let (mut gpu, mut cpu) = (load(Executor::Cudnn, 1, 0.05), load(Executor::Cpu, 1, 0.05));
    assert_eq!(gpu.identity().executor.precision, Precision::F16);
    assert!(gpu.self_test_result().is_some_and(|d| d.error <= d.limit));
    let rules = Rules {
        score_threshold: 0.3,
        iou_threshold: 0.5,
    };
    let detected = |found: Vec<Instance>| -> Vec<Detected> { found.iter().map(Detected::from_instance).collect() };
    let mut agreement = Agreement::default();
    for (i, picture) in pictures(6).iter().enumerate() {
        let (reference, candidate) = (detected(find(&mut cpu, picture)), detected(find(&mut gpu, picture)));
        agreement.add(i.to_string(), PictureAgreement::of(&reference, &candidate, &rules));
    }
    let totals = agreement.totals();
    assert!(totals.matched > 40, "{totals:?}");
    assert!(totals.lost + totals.added <= 1, "{totals:?}");
    // One object in a hundred may come from another of two proposals that score alike.
    assert!(totals.p99_edge_shift_px.unwrap() <= 0.5, "{totals:?}");
    assert!(totals.max_edge_shift_px.unwrap() <= 4.0, "{totals:?}");
    assert!(totals.max_score_shift.unwrap() <= 0.02, "{totals:?}");
    assert!(totals.mean_mask_iou.unwrap() >= 0.995, "{totals:?}");
}

#[test]
fn pictures_together_get_the_answers_they_get_alone_and_nothing_is_allocated() {
    let mut engine = load(Executor::Cudnn, 3, 0.3);
    let mut shown = pictures(2);
    // Another size and format among them: the same network input, another place in it.
    let wide = shown[0].view(&maskcast::geometry::Tile {
        x: 0,
        y: 0,
        size: ImageSize::new(500, 200),
    });
    shown.push(wide.unwrap());
    let alone: Vec<Vec<Instance>> = shown.iter().map(|picture| find(&mut engine, picture)).collect();
    assert!(alone.iter().all(|found| !found.is_empty()));
    let asked = |skip: usize| -> Vec<Asked> {
        let branch = |i| if i == skip { MaskBranch::Skip } else { MaskBranch::Run };
        let one = |(i, image): (usize, &Image)| Asked {
            image: image.clone(),
            masks: branch(i),
        };
        shown.iter().enumerate().map(one).collect()
    };
    let check = |answers: Vec<Result<maskcast::pipeline::Segmented, String>>, skipped: usize| {
        assert_eq!(answers.len(), 3);
        for (i, (answer, alone)) in answers.into_iter().zip(&alone).enumerate() {
            let mut expected = alone.clone();
            if i == skipped {
                expected.iter_mut().for_each(|instance| instance.mask = None);
            }
            assert_eq!(answer.unwrap().instances, expected, "picture {i}");
        }
    };
    // Two batches on their way at a time.
    engine.submit(Ticket(1), asked(1), &SystemClocks);
    engine.submit(Ticket(2), asked(usize::MAX), &SystemClocks);
    check(engine.collect(Ticket(1), &SystemClocks), 1);
    engine.submit(Ticket(3), asked(2), &SystemClocks);
    check(engine.collect(Ticket(2), &SystemClocks), usize::MAX);
    check(engine.collect(Ticket(3), &SystemClocks), 2);
    // A batch that nobody asked for does not shift the answers of the next.
    engine.submit(Ticket(4), asked(1), &SystemClocks);
    engine.submit(Ticket(5), asked(0), &SystemClocks);
    check(engine.collect(Ticket(5), &SystemClocks), 0);
    assert_eq!(engine.collect(Ticket(4), &SystemClocks).len(), 0);
    let allocations = engine.device().unwrap().allocations();
    for ticket in (6..8).map(Ticket) {
        engine.submit(ticket, asked(usize::MAX), &SystemClocks);
        check(engine.collect(ticket, &SystemClocks), usize::MAX);
    }
    assert_eq!(engine.device().unwrap().allocations(), allocations);
    assert_eq!(
        engine.collect(Ticket(9), &SystemClocks).len(),
        0,
        "nothing is on its way"
    );
}

#[test]
fn tiles_go_together_and_small_pictures_are_answered_too() {
    let mut cpu = load(Executor::Cpu, 1, 0.5).with_tiling(Tiling::new(320, 64).ok());
    let mut gpu = load(Executor::Cudnn, 1, 0.5).with_tiling(Tiling::new(320, 64).ok());
    let picture = &pictures(1)[0];
    let (reference, candidate) = (find(&mut cpu, picture), find(&mut gpu, picture));
    assert_eq!(reference.len(), candidate.len());
    let tiny = Image::packed(PixelFormat::Gray8, ImageSize::new(1, 1), vec![9]).unwrap();
    assert!(find(&mut gpu, &tiny).iter().all(|instance| instance.bounds.x1 <= 256));
}

/// Through cameras, batches and messages, in a process of its own.
#[test]
fn cameras_are_served_from_the_gpu_that_a_launch_file_names() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("launch.toml");
    let camera = |i: usize| {
        format!("[[camera]]\nid = \"c{i}\"\nuri = \"sim://conveyor?seed={i}&fps=2\"\nvalid_for_millis = 60000\n")
    };
    let cameras: String = (0..3).map(camera).collect();
    let rest = "[publish]\nidle = \"masks\"\n[zenoh]\nlisten = [\"tcp/127.0.0.1:0\"]\n";
    let text = format!("engine = {:?}\nexecutor = \"cudnn\"\n{cameras}{rest}", conveyor());
    std::fs::write(&file, text).unwrap();
    let ran = program(&["run", file.to_str().unwrap(), "--seconds", "8"], true);
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(ran.status.success(), "{said}");
    assert!(said.contains("(cudnn "), "{said}");
    assert!(!said.contains("trouble"), "{said}");
}

#[test]
fn what_is_missing_is_said_in_a_sentence() {
    let dir = tempfile::tempdir().unwrap();
    let picture = dir.path().join("p.png");
    image::RgbImage::new(8, 8).save(&picture).unwrap();
    let segment = |executor: &str, cudnn: bool| {
        let engine = conveyor();
        let picture: &Path = &picture;
        let arguments = [
            "segment",
            picture.to_str().unwrap(),
            "--engine",
            engine.to_str().unwrap(),
        ];
        let arguments = [&arguments[..], &["--executor", executor]].concat();
        let ran = program(&arguments, cudnn);
        (ran.status.success(), String::from_utf8_lossy(&ran.stderr).into_owned())
    };
    let (done, said) = segment("cudnn", false);
    assert!(!done && said.contains("cuDNN 9 is not installed"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    let (done, said) = segment("tensorrt", true);
    assert!(!done && said.contains("no TensorRT executor"), "{said}");
    // The processor steps in where nobody asked for the GPU by name.
    let (done, said) = segment("auto", false);
    assert!(done, "{said}");
    let (done, said) = segment("gpu", true);
    assert!(!done && said.contains("is no executor"), "{said}");
}
