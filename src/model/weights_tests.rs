use safetensors::tensor::TensorView;

use super::*;

fn file(tensors: &[(&str, Dtype, &[usize], Vec<u8>)]) -> Vec<u8> {
    let views = tensors
        .iter()
        .map(|(name, dtype, shape, data)| (*name, TensorView::new(*dtype, shape.to_vec(), data).unwrap()));
    safetensors::serialize(views, None).unwrap()
}

fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn read(bytes: &[u8]) -> Result<Weights, WeightsError> {
    Weights::from_safetensors(bytes, Path::new("toy.safetensors"))
}

#[test]
fn three_float_types_are_read_as_f32() {
    let half: Vec<u8> = [1.5, -65504.0]
        .iter()
        .flat_map(|&v| f16::from_f32(v).to_le_bytes())
        .collect();
    let brain: Vec<u8> = [1.0, 3e38]
        .iter()
        .flat_map(|&v| bf16::from_f32(v).to_le_bytes())
        .collect();
    let bytes = file(&[
        ("a", Dtype::F32, &[2], floats(&[0.1, 2.0])),
        ("b", Dtype::F16, &[2, 1], half),
        ("c", Dtype::BF16, &[1, 2], brain),
        ("bn.num_batches_tracked", Dtype::I64, &[], vec![0; 8]),
    ]);
    let mut weights = read(&bytes).unwrap();
    assert_eq!(weights.take("a", &[2]).unwrap().values, [0.1, 2.0]);
    assert_eq!(weights.take("b", &[2, 1]).unwrap().values, [1.5, -65504.0]);
    let c = weights.take("c", &[1, 2]).unwrap().values;
    assert!(c[0] == 1.0 && (c[1] / 3e38 - 1.0).abs() < 0.01);
    weights.finish().unwrap();
}

#[test]
fn a_missing_tensor_is_named_with_the_nearest_name() {
    let bytes = file(&[("backbone.body.conv1.weigth", Dtype::F32, &[1], floats(&[1.0]))]);
    let text = read(&bytes)
        .unwrap()
        .take("backbone.body.conv1.weight", &[64, 3, 7, 7])
        .unwrap_err()
        .to_string();
    assert_eq!(
        text,
        "weights toy.safetensors: tensor \"backbone.body.conv1.weight\" of shape [64, 3, 7, 7] is missing, \
         the nearest name is \"backbone.body.conv1.weigth\""
    );
    let text = read(&bytes).unwrap().take("x", &[1]).unwrap_err().to_string();
    assert_eq!(text, "weights toy.safetensors: tensor \"x\" of shape [1] is missing");
}

#[test]
fn a_misshapen_tensor_says_expected_and_got() {
    let bytes = file(&[("fc.weight", Dtype::F32, &[2, 3], floats(&[0.0; 6]))]);
    let text = read(&bytes)
        .unwrap()
        .take("fc.weight", &[3, 2])
        .unwrap_err()
        .to_string();
    assert_eq!(
        text,
        "weights toy.safetensors: tensor \"fc.weight\": expected shape [3, 2], got [2, 3]"
    );
}

#[test]
fn extra_tensors_and_numbers_that_are_none_are_refused() {
    let bytes = file(&[
        ("a", Dtype::F32, &[3], floats(&[0.0, 1.0, f32::NAN])),
        ("b", Dtype::F32, &[1], floats(&[f32::NEG_INFINITY])),
        ("c", Dtype::F32, &[1], floats(&[0.0])),
    ]);
    let mut weights = read(&bytes).unwrap();
    let text = weights.take("a", &[3]).unwrap_err().to_string();
    assert_eq!(
        text,
        "weights toy.safetensors: tensor \"a\": expected finite numbers, got NaN at position 2"
    );
    assert!(
        weights
            .take("b", &[1])
            .unwrap_err()
            .to_string()
            .contains("got -inf at position 0")
    );
    let text = weights.finish().unwrap_err().to_string();
    assert_eq!(
        text,
        "weights toy.safetensors: 1 tensors belong to no layer, the first is \"c\""
    );
}

#[test]
fn broken_and_other_files_are_refused() {
    assert!(
        read(b"")
            .unwrap_err()
            .to_string()
            .starts_with("weights toy.safetensors: no safetensors file (")
    );
    let mut cut = file(&[("a", Dtype::F32, &[2], floats(&[0.0; 2]))]);
    cut.truncate(cut.len() - 1);
    assert!(read(&cut).is_err());
    let ints = file(&[("a", Dtype::I32, &[1], vec![0; 4])]);
    let text = read(&ints).unwrap_err().to_string();
    assert!(
        text.contains("expected F32, F16 or BF16 for tensor \"a\", got I32"),
        "{text}"
    );
    let good = read(&file(&[])).unwrap();
    assert!(good.check_digest(good.sha256()).is_ok());
    let text = good.check_digest([0; 32]).unwrap_err().to_string();
    assert!(
        text.contains(&format!("{}, got {}", "0".repeat(64), Digest(good.sha256()))),
        "{text}"
    );
}

#[test]
fn edit_distance_counts_changes() {
    assert_eq!(
        (edits("", "abc"), edits("abc", "abc"), edits("kitten", "sitting")),
        (3, 0, 3)
    );
}

#[test]
fn input_channels_turn_round() {
    let bytes = file(&[(
        "c",
        Dtype::F32,
        &[2, 3, 1, 2],
        floats(&[1., 2., 3., 4., 5., 6., 7., 8., 9., 10., 11., 12.]),
    )]);
    let mut weights = read(&bytes).unwrap();
    weights.reverse_inputs("c");
    let turned = weights.take("c", &[2, 3, 1, 2]).unwrap().values;
    assert_eq!(turned, [5., 6., 3., 4., 1., 2., 11., 12., 9., 10., 7., 8.]);
}

#[test]
fn batch_norm_becomes_scale_and_shift() {
    // (x - 3) / sqrt(3.99999 + 0.00001) * 4 + 1 = 2 x - 5
    let (scale, shift) = fold(4.0, 1.0, 3.0, 3.99999, 1e-5);
    assert!(
        (scale - 2.0).abs() < 1e-6 && (shift + 5.0).abs() < 1e-6,
        "{scale} {shift}"
    );
}

#[test]
fn names_of_2019_are_those_of_today() {
    let one = |name| (name, Dtype::F32, &[1][..], floats(&[1.0]));
    let old = file(&[
        one("rpn.head.conv.weight"),
        one("backbone.fpn.inner_blocks.2.weight"),
        one("roi_heads.mask_head.mask_fcn3.bias"),
        one("backbone.body.bn1.num_batches_tracked"),
    ]);
    let mut weights = read(&old).unwrap();
    for today in [
        "rpn.head.conv.0.0.weight",
        "backbone.fpn.inner_blocks.2.0.weight",
        "roi_heads.mask_head.2.0.bias",
    ] {
        assert_eq!(weights.take(today, &[1]).unwrap().values, [1.0]);
    }
    weights.finish().unwrap();
    let twice = file(&[one("rpn.head.conv.weight"), one("rpn.head.conv.0.0.weight")]);
    let text = read(&twice).unwrap_err().to_string();
    assert!(
        text.ends_with("tensor \"rpn.head.conv.0.0.weight\" is there under two names"),
        "{text}"
    );
}
