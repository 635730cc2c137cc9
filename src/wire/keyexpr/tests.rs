use proptest::prelude::*;
use zenoh::key_expr::keyexpr;

use super::*;

fn prefix() -> KeyPrefix {
    KeyPrefix::new("maskcast").unwrap()
}

fn camera(text: &str) -> CameraId {
    CameraId::new(text).unwrap()
}

const SESSION: SessionId = SessionId::from_bytes([0xab; 16]);

#[test]
fn keys_are_those_of_the_tree() {
    let of = |key| prefix().text(&Key::Camera(camera("front"), key));
    let hex = "ab".repeat(16);
    assert_eq!(prefix().text(&Key::Alive(SESSION)), format!("maskcast/v1/alive/{hex}"));
    assert_eq!(prefix().text(&Key::Health), "maskcast/v1/health");
    assert_eq!(prefix().text(&Key::Info), "maskcast/v1/info");
    assert_eq!(prefix().text(&Key::Schema), "maskcast/v1/schema");
    assert_eq!(
        of(CameraKey::Alive(SESSION)),
        format!("maskcast/v1/cam/front/alive/{hex}")
    );
    assert_eq!(of(CameraKey::Status), "maskcast/v1/cam/front/status");
    assert_eq!(of(CameraKey::Result(Form::Rle)), "maskcast/v1/cam/front/result");
    assert_eq!(of(CameraKey::Result(Form::Boxes)), "maskcast/v1/cam/front/result/boxes");
    assert_eq!(of(CameraKey::Labels), "maskcast/v1/cam/front/labels");
}

#[test]
fn a_pattern_holds_its_keys_and_no_other_form() {
    let all = prefix().pattern(&Pattern::Result(Cameras::All, Form::Rle)).unwrap();
    let key = |key: CameraKey| prefix().expr(&Key::Camera(camera("front"), key)).unwrap();
    assert!(all.includes(&key(CameraKey::Result(Form::Rle))));
    assert!(!all.intersects(&key(CameraKey::Result(Form::Boxes))));
    assert!(!all.intersects(&key(CameraKey::Status)));
    let tokens = prefix()
        .pattern(&Pattern::CameraTokens(Cameras::One(camera("front"))))
        .unwrap();
    assert!(tokens.includes(&key(CameraKey::Alive(SESSION))));
    let daemons = prefix().pattern(&Pattern::DaemonTokens).unwrap();
    assert!(daemons.includes(&prefix().expr(&Key::Alive(SESSION)).unwrap()));
    assert!(!daemons.intersects(&tokens));
}

#[test]
fn hostile_prefixes_are_refused() {
    for bad in [
        "",
        "/",
        "a/",
        "/a",
        "a//b",
        "*",
        "**",
        "a/*",
        "a/**/b",
        "@cmd",
        "a$*",
        "a?b",
        "a#b",
        "a b",
        "é",
        "a\0",
        "a/1/2/3/4/5/6/7/8",
        "${x}",
        "a;b",
    ] {
        assert_eq!(KeyPrefix::new(bad), Err(KeyError::Prefix(bad.to_owned())), "{bad}");
    }
    assert!(KeyPrefix::new(&"a".repeat(65)).is_err());
    for good in ["maskcast", "cell7/maskcast", "maskcast-replay", "A.b_c-9", "v1"] {
        assert!(KeyPrefix::new(good).is_ok(), "{good}");
    }
}

#[test]
fn foreign_and_unknown_keys_are_errors() {
    for bad in [
        "maskcast/v1",
        "maskcast/v1/",
        "maskcast/v1/cam",
        "maskcast/v1/cam/front",
        "maskcast/v1/cam/Front/status",
        "maskcast/v1/cam/front/result/soft",
        "maskcast/v1/cam/front/result/boxes/x",
        "maskcast/v1/cam/front/alive/xyz",
        "maskcast/v1/cam/*/status",
        "maskcast/v1/alive",
        "maskcast/v1/health/x",
        "maskcast/v1/cam/front/@img/raw",
    ] {
        assert!(prefix().parse(bad).is_err(), "{bad}");
    }
    for foreign in [
        "",
        "maskcast",
        "maskcastx/v1/health",
        "maskcast/v2/health",
        "other/v1/health",
        "/maskcast/v1/health",
    ] {
        assert!(
            matches!(prefix().parse(foreign), Err(KeyError::Foreign { .. })),
            "{foreign}"
        );
    }
    // The error of a very long text stays short.
    let Err(KeyError::Unknown(shown)) = prefix().parse(&format!("maskcast/v1/{}", "x/".repeat(100_000))) else {
        panic!("accepted");
    };
    assert!(shown.len() <= 200);
}

fn any_key() -> impl Strategy<Value = Key> {
    let session = any::<[u8; 16]>().prop_map(SessionId::from_bytes);
    let id = "[a-z0-9_-]{1,32}".prop_map(|t| CameraId::new(&t).unwrap());
    let of_camera = prop_oneof![
        session.clone().prop_map(CameraKey::Alive),
        Just(CameraKey::Status),
        Just(CameraKey::Labels),
        Just(CameraKey::Result(Form::Rle)),
        Just(CameraKey::Result(Form::Boxes)),
    ];
    prop_oneof![
        session.prop_map(Key::Alive),
        Just(Key::Health),
        Just(Key::Info),
        Just(Key::Schema),
        (id, of_camera).prop_map(|(id, key)| Key::Camera(id, key)),
    ]
}

proptest! {
    #[test]
    fn every_key_is_canonical_and_comes_back(prefix in "[a-zA-Z0-9_.-]{1,12}(/[a-zA-Z0-9_.-]{1,12}){0,3}", key in any_key()) {
        let prefix = KeyPrefix::new(&prefix).unwrap();
        let text = prefix.text(&key);
        prop_assert_eq!(prefix.parse(&text), Ok(key.clone()));
        let mut canonical = text.clone();
        let canonical = keyexpr::autocanonize(&mut canonical).unwrap();
        prop_assert_eq!(canonical.as_str(), &text);
        let expr = prefix.expr(&key).unwrap();
        prop_assert_eq!(expr.as_str(), &text);
        prop_assert!(!expr.is_wild());
    }

    #[test]
    fn any_text_is_a_key_or_an_error(tail in "\\PC{0,80}") {
        let text = format!("maskcast/v1/{tail}");
        if let Ok(key) = prefix().parse(&text) {
            prop_assert_eq!(prefix().text(&key), text);
        }
        let _ = prefix().parse(&tail);
        let _ = KeyPrefix::new(&tail);
    }
}
