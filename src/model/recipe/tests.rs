use super::*;

pub(crate) const EXAMPLE: &str = r#"name = "toy"
classes = ["box", "ball"]
[network]
kind = "mask_rcnn"
backbone = "resnet18"
fpn_width = 64
representation_size = 256
anchor_sizes_px = [16, 32, 64, 128, 256]
anchor_ratios = [0.5, 1.0, 2.0]
canonical_scale_px = 224
canonical_level = 4
sampling_ratio = 2
[input]
size = "384x288"
channels = "bgr"
mean = [0.1, 0.2, 0.3]
std = [1, 2, 3]
[weights]
file = "toy.safetensors"
sha256 = "00000000000000000000000000000000000000000000000000000000000000ff"
licence = "Apache-2.0"
origin = "trained here"
data = "synthetic"
command = "make train"
[test]
pre_nms_top_n = 300
post_nms_top_n = 100
rpn_nms_threshold = 0.7
score_threshold = 0.05
nms_threshold = 0.5
detections = 100
[executor]
precision = "bf16"
"#;

fn parse(text: &str) -> Result<Recipe, RecipeError> {
    Recipe::parse(text, Path::new("engines/toy.toml"))
}

fn refused(from: &str, to: &str) -> String {
    assert!(EXAMPLE.contains(from), "{from}");
    parse(&EXAMPLE.replace(from, to)).unwrap_err().to_string()
}

#[test]
fn an_example_is_read_as_meant() {
    let recipe = parse(EXAMPLE).unwrap();
    assert_eq!(recipe.network.backbone, Depth::ResNet18);
    assert_eq!(recipe.network.stage_planes, [64, 128, 256, 512]);
    assert_eq!(recipe.network.batch_norm_eps, 1e-5);
    assert_eq!(recipe.input.size, ImageSize::new(384, 288));
    assert_eq!(recipe.weights.file, Path::new("engines/toy.safetensors"));
    assert_eq!(recipe.weights.sha256[30..], [0, 255]);
    assert_eq!(recipe.precision, Precision::Bf16);
    assert_eq!(recipe.rgb_mean_std(), ([0.3, 0.2, 0.1], [3.0, 2.0, 1.0]));
}

#[test]
fn unknown_and_missing_keys_are_refused_with_their_line() {
    let text = refused("fpn_width = 64", "fpn_wdith = 64");
    assert!(
        text.starts_with("engines/toy.toml:6:1: unknown field `fpn_wdith`, expected one of"),
        "{text}"
    );
    let text = refused("detections = 100\n", "");
    assert!(text.contains("missing field `detections`"), "{text}");
    let text = refused("fpn_width = 64", "fpn_width = -64");
    assert!(text.starts_with("engines/toy.toml:6:13: "), "{text}");
    let text = refused("channels = \"bgr\"", "channels = \"brg\"");
    assert!(
        text.starts_with("engines/toy.toml:15:12: unknown variant `brg`"),
        "{text}"
    );
    let text = refused("[input]", "[input");
    assert!(text.starts_with("engines/toy.toml:13:"), "{text}");
}

#[test]
fn values_out_of_range_name_key_expected_and_got() {
    let text = refused("\"384x288\"", "\"380x288\"");
    assert_eq!(
        text,
        "engines/toy.toml: input.size is 380x288: expected both sides multiples of 32"
    );
    let text = refused("resnet18", "resnet19");
    assert_eq!(
        text,
        "engines/toy.toml: network.backbone is \"resnet19\": expected one of resnet18, resnet34, resnet50, resnet101, resnet152"
    );
    assert!(
        refused("nms_threshold = 0.5", "nms_threshold = nan").contains("test.nms_threshold is NaN: expected 0 to 1")
    );
    assert!(refused("\"bf16\"", "\"int8\"").contains("executor.precision is int8"));
    assert!(refused("00ff\"", "00fg\"").contains("weights.sha256"));
    assert!(refused("std = [1, 2, 3]", "std = [1, 0, 3]").contains("input.std is 0"));
    assert!(refused("[\"box\", \"ball\"]", "[]").contains("classes is 0: expected 1 to 65535 names"));
    assert!(refused("\"mask_rcnn\"", "\"yolo\"").contains("network.kind is \"yolo\": expected \"mask_rcnn\""));
}

#[test]
fn an_absent_recipe_is_named() {
    let text = Recipe::read(Path::new("no/such.toml")).unwrap_err().to_string();
    assert!(text.starts_with("recipe no/such.toml: "), "{text}");
}
