//! Who answered: everything that can change a result, as canonical JSON, and its SHA-256. Anyone can recompute it.

use std::collections::BTreeMap;

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::recipe::Recipe;
use crate::engine::{Digest, ExecutorIdentity};

/// The identity of a loaded engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineIdentity {
    /// Keys sorted, no spaces.
    pub canonical_json: String,
    /// Of `canonical_json`.
    pub sha256: [u8; 32],
    pub executor: ExecutorIdentity,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Field {
    Text(String),
    Whole(usize),
    Single(f32),
    Double(f64),
}

impl EngineIdentity {
    /// `onnx` = the network's parts in order; `scale_table` that of an int8 engine.
    pub(super) fn new(
        recipe: &Recipe,
        weights_sha256: [u8; 32],
        onnx: &[Vec<u8>],
        executor: &ExecutorIdentity,
        scale_table: Option<Digest>,
    ) -> Result<EngineIdentity, serde_json::Error> {
        let mut network = Sha256::new();
        for part in onnx {
            network.update((part.len() as u64).to_le_bytes()); // so that no byte can move to the next part unseen
            network.update(part);
        }
        let test = &recipe.test;
        let mut fields = BTreeMap::from([
            ("classes", Field::Text(format!("{:?}", recipe.classes))),
            ("detections", Field::Whole(test.detections)),
            ("device", Field::Text(executor.device.clone())),
            ("executor", Field::Text(executor.name.clone())),
            ("executor_version", Field::Text(executor.version.clone())),
            ("input_mean", Field::Text(format!("{:?}", recipe.input.mean))),
            (
                "input_resampling",
                Field::Text(format!("{:?}", recipe.input.resampling)),
            ),
            ("input_sizing", Field::Text(format!("{:?}", recipe.input.sizing))),
            ("input_std", Field::Text(format!("{:?}", recipe.input.std))),
            ("maskcast_version", Field::Text(env!("CARGO_PKG_VERSION").to_owned())),
            ("network", Field::Text(format!("{:?}", recipe.network))),
            (
                "network_sha256",
                Field::Text(Digest(network.finalize().into()).to_string()),
            ),
            ("nms_threshold", Field::Double(test.nms_threshold)),
            ("post_nms_top_n", Field::Whole(test.post_nms_top_n)),
            ("pre_nms_top_n", Field::Whole(test.pre_nms_top_n)),
            ("precision", Field::Text(executor.precision.to_string())),
            ("rpn_nms_threshold", Field::Double(test.rpn_nms_threshold)),
            ("score_threshold", Field::Single(test.score_threshold)),
            ("weights_sha256", Field::Text(Digest(weights_sha256).to_string())),
        ]);
        if let Some(table) = scale_table {
            fields.insert("scale_table_sha256", Field::Text(table.to_string()));
        }
        let canonical_json = serde_json::to_string(&fields)?;
        Ok(EngineIdentity {
            sha256: Sha256::digest(canonical_json.as_bytes()).into(),
            canonical_json,
            executor: executor.clone(),
        })
    }

    /// The wire's `engine_id`: the first 16 bytes of the digest.
    pub fn id(&self) -> [u8; 16] {
        let mut id = [0; 16];
        id.copy_from_slice(&self.sha256[..16]);
        id
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::engine::Precision;

    #[test]
    fn the_text_is_canonical_and_every_setting_changes_the_digest() {
        let recipe = Recipe::parse(crate::model::recipe::EXAMPLE, Path::new("toy.toml")).unwrap();
        let executor = ExecutorIdentity {
            name: "openvino".into(),
            version: "1".into(),
            device: "a \"cpu\"".into(),
            precision: Precision::F32,
        };
        let identity = |recipe: &Recipe, onnx: &[&[u8]]| {
            let onnx: Vec<Vec<u8>> = onnx.iter().map(|part| part.to_vec()).collect();
            EngineIdentity::new(recipe, [0; 32], &onnx, &executor, None).unwrap()
        };
        let one = identity(&recipe, &[b"ab", b"c"]);
        let text = &one.canonical_json;
        assert!(
            text.starts_with("{\"classes\":\"[\\\"box\\\", \\\"ball\\\"]\",\"detections\":100,"),
            "{text}"
        );
        assert!(
            text.contains("\"device\":\"a \\\"cpu\\\"\"") && text.contains("\"score_threshold\":0.05,"),
            "{text}"
        );
        assert!(text.contains("\"nms_threshold\":0.5,\"post_nms_top_n\":100,"), "{text}");
        let again: BTreeMap<String, serde_json::Value> = serde_json::from_str(text).unwrap();
        assert_eq!(&serde_json::to_string(&again).unwrap(), text);
        assert_eq!(one.id(), one.sha256[..16]);
        assert_ne!(one.sha256, identity(&recipe, &[b"a", b"bc"]).sha256);
        let mut other = recipe.clone();
        other.test.score_threshold = 0.06;
        assert_ne!(one.sha256, identity(&other, &[b"ab", b"c"]).sha256);
        let onnx = [b"ab".to_vec(), b"c".to_vec()];
        let table = Some(Digest([1; 32]));
        let int8 = EngineIdentity::new(&recipe, [0; 32], &onnx, &executor, table).unwrap();
        assert_ne!(one.sha256, int8.sha256);
        assert!(
            int8.canonical_json.contains("\"scale_table_sha256\":\"0101"),
            "{}",
            int8.canonical_json
        );
    }
}
