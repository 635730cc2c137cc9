//! The cuDNN executor on the stand-in library: each step against plain loops, whole networks against OpenVINO in f32, by
//! norm(out - ref) / norm(ref).

#[path = "cudnn_plain.rs"]
mod plain;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use half::f16;
use maskcast::device::{CudaStream, Device, DeviceSliceMut, TensorElement, TensorView};
use maskcast::engine::Precision;
use maskcast::engine::cudnn::{Cudnn, Program, Settings, Tuning, plans};
use maskcast::engine::graph::{Array, Dim, Graph, Tensor, Window};
use maskcast::engine::openvino;
use maskcast::geometry::ImageSize;
use maskcast::model::checkpoint::{Checkpoint, Format};
use maskcast::model::{Recipe, Weights, dense_parts};

use self::plain::Plane;
use crate::device;

/// f16 rounds to 2^-11; measured: steps below 4e-4, whole networks below 2e-3.
const STEP: f64 = 1e-3;
const NETWORK: f64 = 2e-3;

fn open(device: &Device, tuning: Tuning) -> Cudnn {
    assert!(
        std::env::var_os("MASKCAST_CUDNN_DIR").is_some(),
        "MASKCAST_CUDNN_DIR is not set: run `make cudnn-standin`, then set it to cudnn-standin/lib in the target folder"
    );
    Cudnn::open(device, Settings { tuning, progress: None }).unwrap_or_else(|e| panic!("{e}"))
}

fn noise(seed: u64) -> impl FnMut() -> f32 {
    let mut state = seed;
    move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / 8_388_608.0 - 1.0
    }
}

fn array(shape: &[usize], scale: f32, seed: u64) -> Array {
    let mut next = noise(seed);
    let count = shape.iter().product();
    Array::new(shape.to_vec(), (0..count).map(|_| next() * scale).collect()).unwrap()
}

fn deviation(name: &str, want: &[f32], got: &[f32]) -> f64 {
    assert_eq!(want.len(), got.len(), "{name}");
    let sum = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>();
    let apart = sum(&mut want.iter().zip(got).map(|(w, g)| f64::from(*w) - f64::from(*g)));
    let size = sum(&mut want.iter().map(|w| f64::from(*w)));
    let deviation = (apart / size.max(1e-30)).sqrt();
    eprintln!("{name}: {deviation:.1e}");
    deviation
}

/// NaN never passes.
fn assert_close(name: &str, want: &[f32], got: &[f32], limit: f64) {
    let deviation = deviation(name, want, got);
    assert!(deviation < limit, "{name}: {deviation:.2e} >= {limit:.0e}");
}

/// `values` [positions, channels] as input 0, padded with zeros.
fn give(device: &Device, stream: &CudaStream, program: &mut Program, values: &[f32]) {
    let view = program.input_mut(0).unwrap();
    let TensorView { positions, pitch, .. } = view.as_view();
    let channels = values.len() / positions;
    assert!(values.len() == positions * channels && channels <= pitch);
    let mut pinned = device.pinned::<f16>("input", positions * pitch).unwrap();
    let to = pinned.write().unwrap();
    for (row, cells) in values.chunks_exact(channels).zip(to.chunks_exact_mut(pitch)) {
        for (cell, value) in cells.iter_mut().zip(row) {
            *cell = f16::from_f32(*value);
        }
    }
    // SAFETY: the input's memory, in full.
    let slice = unsafe { DeviceSliceMut::from_raw(view.as_view().address(), positions * pitch) };
    stream.upload(&pinned, slice).unwrap();
}

/// Output `index`, [positions, channels].
fn take(device: &Device, program: &Program, index: usize) -> Vec<f32> {
    device.read_tensor(program.output(index).unwrap()).unwrap()
}

/// Everything poisoned, then one run.
fn run(device: &Device, program: &mut Program, input: &[f32]) -> Vec<Vec<f32>> {
    let stream = device.stream("test").unwrap();
    program.poison(&stream, 0xff).unwrap(); // NaN in both f16 and f32
    give(device, &stream, program, input);
    program.enqueue(&stream).unwrap();
    stream.synchronize().unwrap();
    (0..program.output_count()).map(|i| take(device, program, i)).collect()
}

const SHAPE: [usize; 4] = [2, 12, 9, 10];

/// Builds a graph over one input of [`SHAPE`], runs it, and compares its outputs with `want`, channels last.
fn step(name: &str, build: impl Fn(&mut Graph, Tensor) -> Vec<Tensor>, want: impl Fn(&Plane) -> Vec<Vec<f32>>) {
    let device = device();
    let mut graph = Graph::new(name);
    let x = graph.input("x", &SHAPE.map(Dim::Fixed)).unwrap();
    for (i, out) in build(&mut graph, x).into_iter().enumerate() {
        graph.output(&format!("out{i}"), out).unwrap();
    }
    let plane = Plane::random(SHAPE, 7);
    let mut program = open(&device, Tuning::Off)
        .compile(&graph)
        .unwrap_or_else(|e| panic!("{e}"));
    let got = run(&device, &mut program, &plane.channels_last());
    let want = want(&plane);
    assert_eq!(got.len(), want.len());
    for (i, (want, got)) in want.iter().zip(&got).enumerate() {
        assert_close(&format!("{name} {i}"), want, got, STEP);
    }
}

fn one(plane: Plane) -> Vec<Vec<f32>> {
    vec![plane.channels_last()]
}

#[test]
fn convolutions_with_what_follows_them_are_as_plain_loops() {
    for (k, stride, pad) in [(1, 1, 0), (1, 2, 0), (3, 1, 1), (3, 2, 1), (7, 2, 3)] {
        let window = Window::new(k, stride, pad);
        let (w, b) = (array(&[20, 12, k, k], 0.2, 1), array(&[20], 1.0, 2));
        let build = |g: &mut Graph, x| vec![g.conv("conv", x, w.clone(), b.clone(), window).unwrap()];
        step(&format!("conv {k}/{stride}"), build, |x| one(x.conv(&w, &b, window, 1)));
        let build = |g: &mut Graph, x| {
            let y = g.conv("conv", x, w.clone(), b.clone(), window).unwrap();
            vec![g.relu("relu", y).unwrap()]
        };
        step(&format!("conv {k}/{stride} relu"), build, |x| {
            one(x.conv(&w, &b, window, 1).map(|v| v.max(0.0)))
        });
    }
}

#[test]
fn a_residual_is_added_before_the_relu() {
    let window = Window::new(3, 1, 1);
    let (w, b) = (array(&[12, 12, 3, 3], 0.1, 3), array(&[12], 1.0, 4));
    for relu in [false, true] {
        let build = |g: &mut Graph, x| {
            let y = g.conv("conv", x, w.clone(), b.clone(), window).unwrap();
            let sum = g.add("add", y, x).unwrap();
            vec![if relu { g.relu("relu", sum).unwrap() } else { sum }]
        };
        step(&format!("residual, relu {relu}"), build, |x| {
            let sum = x.conv(&w, &b, window, 1).plus(x);
            one(if relu { sum.map(|v| v.max(0.0)) } else { sum })
        });
    }
}

#[test]
fn two_convolutions_that_only_go_out_become_one_in_f32() {
    let window = Window::new(1, 1, 0);
    let (w, b) = (array(&[3, 12, 1, 1], 0.3, 5), array(&[3], 1.0, 6));
    let (v, c) = (array(&[12, 12, 1, 1], 0.3, 7), array(&[12], 1.0, 8));
    let build = |g: &mut Graph, x| {
        let a = g.conv("a", x, w.clone(), b.clone(), window).unwrap();
        let d = g.conv("d", x, v.clone(), c.clone(), window).unwrap();
        [a, d]
            .into_iter()
            .enumerate()
            .map(|(i, t)| g.transpose(&format!("last{i}"), t, &[0, 2, 3, 1]).unwrap())
            .collect()
    };
    let want = |x: &Plane| {
        vec![
            x.conv(&w, &b, window, 1).channels_last(),
            x.conv(&v, &c, window, 1).channels_last(),
        ]
    };
    step("siblings", build, want);
    let mut graph = Graph::new("siblings");
    let x = graph.input("x", &SHAPE.map(Dim::Fixed)).unwrap();
    for (i, out) in build(&mut graph, x).into_iter().enumerate() {
        graph.output(&format!("out{i}"), out).unwrap();
    }
    let program = open(&device(), Tuning::Off).compile(&graph).unwrap();
    let (a, d) = (program.output(0).unwrap(), program.output(1).unwrap());
    assert_eq!((a.element, a.channels, a.pitch), (TensorElement::F32, 3, 16));
    assert_eq!((d.address() - a.address(), d.channels, d.pitch), (12, 12, 16));
}

#[test]
fn linear_layers_over_flattened_cells_are_as_plain_loops() {
    let inputs = SHAPE[1] * SHAPE[2] * SHAPE[3];
    let (w, b) = (array(&[20, inputs], 0.05, 9), array(&[20], 1.0, 10));
    for last in [false, true] {
        let build = |g: &mut Graph, x| {
            let from = if last {
                g.transpose("last", x, &[0, 2, 3, 1]).unwrap()
            } else {
                g.max_pool("same", x, Window::new(1, 1, 0)).unwrap() // an input that is only flattened is channels last
            };
            let flat = g.flatten("flat", from).unwrap();
            vec![g.linear("linear", flat, w.clone(), b.clone()).unwrap()]
        };
        step(&format!("linear, channels last {last}"), build, |x| {
            let rows = if last { x.channels_last() } else { x.values.clone() };
            let dot = |row: &[f32], o: usize| {
                let products = row.iter().zip(&w.values[o * inputs..]).map(|(a, b)| a * b);
                products.sum::<f32>() + b.values[o]
            };
            vec![
                rows.chunks_exact(inputs)
                    .flat_map(|row| (0..20).map(|o| dot(row, o)).collect::<Vec<_>>())
                    .collect(),
            ]
        });
    }
}

#[test]
fn layers_of_our_own_are_as_plain_loops() {
    for (k, stride, pad) in [(3, 2, 1), (1, 2, 0), (2, 2, 0)] {
        let window = Window::new(k, stride, pad);
        let build = |g: &mut Graph, x| vec![g.max_pool("pool", x, window).unwrap()];
        step(&format!("max pool {k}/{stride}"), build, |x| one(x.max_pool(window)));
    }
    let build = |g: &mut Graph, x| vec![g.upsample_nearest_2x("up", x).unwrap()];
    step("upsample", build, |x| one(x.upsampled()));
    let (w, b) = (array(&[12, 20, 2, 2], 0.3, 11), array(&[20], 1.0, 12));
    let build = |g: &mut Graph, x| {
        let y = g.deconv_2x("deconv", x, w.clone(), b.clone()).unwrap();
        vec![g.relu("relu", y).unwrap()]
    };
    step("deconv 2x, relu", build, |x| {
        one(x.deconv(&w, &b, Window::new(2, 2, 0), 1).map(|v| v.max(0.0)))
    });
    for stride in [1, 2] {
        let window = Window::new(3, stride, 1);
        let (w, b) = (array(&[12, 1, 3, 3], 0.5, 13), array(&[12], 1.0, 14));
        let build = |g: &mut Graph, x| vec![g.depthwise_conv("depthwise", x, w.clone(), b.clone(), window).unwrap()];
        step("depthwise", build, |x| one(x.conv(&w, &b, window, 12)));
    }
    let window = Window::new(4, 2, 1);
    let (w, b) = (array(&[12, 1, 4, 4], 0.5, 15), array(&[12], 1.0, 16));
    let build = |g: &mut Graph, x| vec![g.depthwise_deconv("up", x, w.clone(), b.clone(), window).unwrap()];
    step("depthwise deconv", build, |x| one(x.deconv(&w, &b, window, 12)));
    let build = |g: &mut Graph, x| vec![g.plane_means("means", x).unwrap()];
    step("means", build, |x| {
        let area = x.h * x.w;
        vec![
            x.values
                .chunks_exact(area)
                .map(|p| p.iter().sum::<f32>() / area as f32)
                .collect(),
        ]
    });
    let build = |g: &mut Graph, x| vec![g.sigmoid("sigmoid", x).unwrap()];
    step("sigmoid", build, |x| one(x.clone().map(|v| 1.0 / (1.0 + (-v).exp()))));
    let build = |g: &mut Graph, x| {
        let last = g.transpose("last", x, &[0, 2, 3, 1]).unwrap();
        vec![g.softmax("softmax", last).unwrap()]
    };
    step("softmax", build, |x| {
        let soft = |row: &[f32]| {
            let sum: f32 = row.iter().map(|v| v.exp()).sum();
            row.iter().map(|v| v.exp() / sum).collect::<Vec<_>>()
        };
        vec![x.channels_last().chunks_exact(x.c).flat_map(soft).collect()]
    });
    let build = |g: &mut Graph, x| {
        let pooled = g.max_pool("pool", x, Window::new(3, 1, 1)).unwrap();
        let sum = g.add("add", x, pooled).unwrap();
        vec![g.relu("relu", sum).unwrap()]
    };
    step("sum and relu alone", build, |x| {
        one(x.clone().plus(&x.max_pool(Window::new(3, 1, 1))).map(|v| v.max(0.0)))
    });
}

fn engines() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("engines")
}

/// Each part against OpenVINO in f32; a second run as a captured graph gives the same bits and allocates nothing.
fn assert_parts(name: &str, recipe: &Recipe, weights: Weights, size: ImageSize, scale: f32) {
    let device = device();
    let mut cudnn = open(&device, Tuning::Off);
    assert_eq!(
        (cudnn.identity().name.as_str(), cudnn.identity().precision),
        ("cudnn", Precision::F16)
    );
    let settings = openvino::Settings {
        precision: Precision::F32,
        threads: Some(2),
    };
    let mut reference = openvino::OpenVino::open(settings).unwrap_or_else(|e| panic!("{e}"));
    for graph in dense_parts(recipe, weights, size, 1, [40, 12]).unwrap() {
        let mut plain = reference.compile(&graph, &graph.to_onnx()).unwrap();
        let shape: Vec<usize> = graph.inputs().next().unwrap().shape.iter().map(fixed).collect();
        let is_image = shape[1] == 3;
        let scale = if is_image { scale } else { 1.0 };
        let mut input = Plane::random([shape[0], shape[1], shape[2], shape[3]], 77);
        input.values.iter_mut().for_each(|v| *v *= scale);
        plain.input_mut::<f32>(0).unwrap().copy_from_slice(&input.values);
        plain.run().unwrap();
        // RoIs lie channels last in the graph too.
        let given = if is_image {
            input.channels_last()
        } else {
            input.values.clone()
        };
        let mut program = cudnn.compile(&graph).unwrap_or_else(|e| panic!("{e}"));
        let eager = run(&device, &mut program, &given);
        for (i, (value, got)) in graph.outputs().zip(&eager).enumerate() {
            let shape: Vec<usize> = value.shape.iter().map(fixed).collect();
            let want = plain.output::<f32>(i).unwrap().to_vec();
            let want = match (graph.name(), &shape[..]) {
                ("mask_head", &[n, c, h, w]) => Plane {
                    n,
                    c,
                    h,
                    w,
                    values: want,
                }
                .channels_last(),
                _ => want,
            };
            assert_close(&format!("{name} {} {}", graph.name(), value.name), &want, got, NETWORK);
        }
        let stream = device.stream("test").unwrap();
        let mut captured = stream.capture(|| program.enqueue(&stream)).unwrap();
        program.poison(&stream, 0xff).unwrap();
        give(&device, &stream, &mut program, &given);
        let allocations = device.allocations();
        for _ in 0..2 {
            captured.launch(&stream).unwrap();
        }
        stream.synchronize().unwrap();
        assert_eq!(device.allocations(), allocations, "a run allocates nothing");
        for (i, eager) in eager.iter().enumerate() {
            let again = take(&device, &program, i);
            let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            assert!(
                bits(eager) == bits(&again),
                "{name} {} output {i}: replay differs",
                graph.name()
            );
        }
    }
}

fn fixed(dim: &Dim) -> usize {
    match dim {
        Dim::Fixed(extent) => *extent,
        Dim::Named(name) => panic!("{name} is not fixed"),
    }
}

#[test]
fn a_pyramid_network_is_as_openvino_says() {
    let recipe = Recipe::read(&engines().join("conveyor.toml")).unwrap();
    let weights = Weights::read(&engines().join("conveyor.safetensors")).unwrap();
    assert_parts("conveyor", &recipe, weights, ImageSize::new(192, 128), 2.0);
}

#[test]
fn maskrcnn2go_is_as_openvino_says() {
    let data = std::env::var_os("MASKCAST_DATA").map_or_else(|| "../shared/data".into(), PathBuf::from);
    let path = data.join("maskrcnn2go/model_int8_model_init.pb");
    if !path.exists() {
        println!("not run: no MaskRCNN2Go at {}", path.display());
        return;
    }
    let recipe = Recipe::read(&engines().join("maskrcnn2go.toml")).unwrap();
    let tensors = Checkpoint::read(&path, Format::MaskRcnn2Go).unwrap().tensors;
    let arrays: BTreeMap<String, Array> = tensors
        .into_iter()
        .map(|(name, tensor)| (name, Array::new(tensor.shape, tensor.values).unwrap()))
        .collect();
    let weights = Weights::from_tensors(&path, arrays, [0; 32]);
    assert_parts("maskrcnn2go", &recipe, weights, ImageSize::new(192, 128), 128.0);
}

#[test]
fn configurations_are_timed_once_and_kept() {
    let device = device();
    let dir = tempfile::tempdir().unwrap();
    let kept = || Tuning::Kept {
        folder: Some(dir.path().to_owned()),
        most: None,
        pool_bytes: Some(1 << 20),
    };
    let mut graph = Graph::new("kept");
    let x = graph.input("x", &SHAPE.map(Dim::Fixed)).unwrap();
    let (w, b) = (array(&[16, 12, 3, 3], 0.1, 17), array(&[16], 1.0, 18));
    let y = graph.conv("conv", x, w, b, Window::new(3, 1, 1)).unwrap();
    graph.output("y", y).unwrap();
    let input = Plane::random(SHAPE, 5).channels_last();
    let mut first = open(&device, kept()).compile(&graph).unwrap();
    let want = run(&device, &mut first, &input);
    let files = || {
        let folder = std::fs::read_dir(dir.path()).unwrap().next().unwrap().unwrap().path();
        std::fs::read_dir(folder)
            .unwrap()
            .map(|f| f.unwrap().path())
            .collect::<Vec<_>>()
    };
    assert_eq!(files().len(), 1);
    for text in [None, Some("{"), Some("")] {
        if let Some(text) = text {
            std::fs::write(&files()[0], text).unwrap(); // a damaged entry is made again
        }
        let mut again = open(&device, kept()).compile(&graph).unwrap();
        assert_eq!(run(&device, &mut again, &input), want);
        assert!(std::fs::read_to_string(&files()[0]).unwrap().contains("standin"));
    }
}

/// With NVIDIA's own library and no GPU: MASKCAST_CUDNN_DIR is its folder, MASKCAST_CUDNN_DEVICE a file of device
/// properties as cuDNN writes them, and libcuda.so.1 one that loads modules and nothing else.
#[test]
#[ignore = "needs NVIDIA's cuDNN and a described device"]
fn cudnn_has_a_plan_for_every_layer() {
    let device = std::fs::read(std::env::var_os("MASKCAST_CUDNN_DEVICE").expect("MASKCAST_CUDNN_DEVICE")).unwrap();
    let networks = [
        ("coco-resnet50", ImageSize::new(1344, 800)),
        ("conveyor", ImageSize::new(640, 480)),
    ];
    for (name, size) in networks {
        let recipe = Recipe::read(&engines().join(name).with_extension("toml")).unwrap();
        let parts = dense_parts(&recipe, Weights::blank(), size, 1, [1000, 100]).unwrap();
        let reports = plans(&parts, &device).unwrap_or_else(|e| panic!("{e}"));
        for report in &reports {
            println!(
                "{} x{}: {}: {:?}",
                report.layer, report.layers, report.shape, report.plan
            );
        }
        let missing = reports.iter().filter(|report| report.plan.is_err()).count();
        println!(
            "{name}: {} of {} shapes have a plan",
            reports.len() - missing,
            reports.len()
        );
        assert_eq!(missing, 0);
    }
}
