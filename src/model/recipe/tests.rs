use super::*;
use crate::geometry::{ImageSize, SideRounding};

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
    let Network::Pyramid(network) = &recipe.network else {
        panic!("{:?}", recipe.network)
    };
    assert_eq!(network.backbone, Depth::ResNet18);
    assert_eq!(network.stage_planes, [64, 128, 256, 512]);
    assert_eq!(network.batch_norm_eps, 1e-5);
    assert_eq!(
        (network.conventions, network.layout),
        (Conventions::Torchvision, Layout::V1)
    );
    assert_eq!(recipe.input.sizing, Sizing::Fixed(ImageSize::new(384, 288)));
    assert_eq!(recipe.weights.file, Path::new("engines/toy.safetensors"));
    assert_eq!(recipe.weights.sha256.unwrap()[30..], [0, 255]);
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
    let text = refused("\"mask_rcnn\"", "\"yolo\"");
    assert!(
        text.starts_with("engines/toy.toml:4:8: unknown variant `yolo`"),
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
    assert!(refused("\"bf16\"", "\"int4\"").contains("executor.precision is int4"));
    assert!(refused("00ff\"", "00fg\"").contains("weights.sha256"));
    assert!(refused("std = [1, 2, 3]", "std = [1, 0, 3]").contains("input.std is 0"));
    assert!(refused("[\"box\", \"ball\"]", "[]").contains("classes is 0: expected 1 to 65535 names"));
    assert!(refused("\"ball\"", "\"box\"").contains("classes is \"box\" twice: expected each name once"));
    assert!(refused("fpn_width = 64\n", "").contains("network.fpn_width is missing"));
    assert!(
        refused("size = \"384x288\"", "shortest_edge_px = 800").contains("expected either size, or shortest_edge_px")
    );
}

#[test]
fn figures_are_numbers_or_words() {
    assert!(parse(EXAMPLE).unwrap().weights.figures.is_empty());
    let with = |figures: &str| EXAMPLE.replace("[test]", &format!("[weights.figures]\n{figures}\n[test]"));
    let recipe = parse(&with("pictures = 500\nmask_ap = 0.694\non = \"val\"")).unwrap();
    let shown: Vec<String> = recipe.weights.figures.iter().map(|(k, v)| format!("{k} {v}")).collect();
    assert_eq!(shown, ["mask_ap 0.694", "on val", "pictures 500"]);
    let refused = parse(&with("mask_ap = [0.5]")).unwrap_err().to_string();
    assert!(refused.contains("a figure must be a number or a text"), "{refused}");
}

#[test]
fn an_absent_recipe_is_named() {
    let text = Recipe::read(Path::new("no/such.toml")).unwrap_err().to_string();
    assert!(text.starts_with("recipe no/such.toml: "), "{text}");
}

#[test]
fn other_libraries_have_other_conventions() {
    let text = EXAMPLE
        .replace("backbone =", "conventions = \"detectron2\"\nbackbone =")
        .replace("size = \"384x288\"", "shortest_edge_px = 800\nlongest_edge_px = 1333")
        .replace("sha256 = \"00000000000000000000000000000000000000000000000000000000000000ff\"\n", "")
        .replace(
            "[test]",
            "[source]\nurl = \"https://example.org/a.pkl\"\nfrom = \"detectron2\"\nsha256_prefix = \"0123ABCD\"\n[test]",
        );
    let recipe = parse(&text).unwrap();
    assert_eq!(recipe.input.resampling, Resampling::Antialiased);
    let Sizing::ShortestEdge {
        rounding, multiple_of, ..
    } = recipe.input.sizing
    else {
        panic!("{:?}", recipe.input.sizing)
    };
    assert_eq!((rounding, multiple_of), (SideRounding::Nearest, 32));
    assert_eq!(recipe.weights.sha256, None);
    assert_eq!(recipe.source.unwrap().sha256_prefix, "0123abcd");
    let refused = parse(&text.replace("0123ABCD", "0123")).unwrap_err().to_string();
    assert!(
        refused.contains("source.sha256_prefix is \"0123\": expected 8 to 64 hex digits"),
        "{refused}"
    );
}

#[test]
fn the_small_coco_network_has_nothing_to_choose() {
    let start = EXAMPLE.find("backbone").unwrap();
    let end = EXAMPLE.find("[input]").unwrap();
    let text = format!("{}{}", &EXAMPLE[..start], &EXAMPLE[end..]).replace("mask_rcnn", "mask_rcnn2go");
    assert_eq!(parse(&text).unwrap().network, Network::MaskRcnn2Go);
    let refused = parse(&text.replace("[input]", "fpn_width = 64\n[input]")).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "engines/toy.toml: network.fpn_width is given: expected nothing beside kind = \"mask_rcnn2go\""
    );
}
