//! Bodies that the contract does not have, derived from those that it has.

use serde_json::{Value, json};

use crate::forge::changed;

/// Largest body, in bytes.
pub const BODY_LIMIT: usize = 16 * 1024;

/// Bodies that are wrong in one way each, with the way's name; all of them are `malformed-request`.
pub fn bad_bodies(schema: &Value, sound: &Value) -> Vec<(String, Vec<u8>)> {
    let object = sound.as_object().unwrap();
    let text = sound.to_string();
    let mut bad: Vec<(String, Vec<u8>)> = Vec::new();
    let mut add = |what: String, body: &dyn AsRef<[u8]>| bad.push((what, body.as_ref().to_vec()));

    add("an unknown member".into(), &changed(sound, "unknown", json!(1)).to_string());
    add("an unknown deep member".into(), &format!("{{\"unknown\":{}", "[".repeat(8_000)));
    for name in schema["properties"].as_object().unwrap().keys() {
        for wrong in [json!(42), json!(-1.5), json!([]), json!(["a"]), json!({}), json!({ "a": 1 })] {
            add(format!("{name} = {wrong}"), &changed(sound, name, wrong).to_string());
        }
        // A string where a truth value belongs, and the reverse.
        let crossed =
            if schema["properties"][name]["type"] == "boolean" { json!("true") } else { json!(true) };
        add(format!("{name} = {crossed}"), &changed(sound, name, crossed).to_string());
        add(format!("a deep {name}"), &format!("{{\"{name}\":{}", "[{\"a\":".repeat(2_000)));
    }
    for required in schema["required"].as_array().into_iter().flatten() {
        let name = required.as_str().unwrap();
        let mut fewer = object.clone();
        fewer.remove(name).unwrap();
        add(format!("no {name}"), &Value::from(fewer).to_string());
        add(format!("{name} = null"), &format!("{{\"{name}\":null,{}", &text[1..]));
    }
    for (name, value) in object {
        add(format!("{name} twice"), &format!("{{\"{name}\":{value},{}", &text[1..]));
        add(format!("{name} in capitals"), &text.replace(name.as_str(), &name.to_uppercase()));
        if let Some(value) = value.as_str() {
            let (before, after) = text.split_once(value).unwrap();
            let around = |middle: &[u8]| [before.as_bytes(), middle, after.as_bytes()].concat();
            add(format!("{name} not in UTF-8"), &around(b"\xff\xfe"));
            add(format!("{name} with an overlong NUL"), &around(b"\xc0\x80"));
            add(format!("{name} with half a surrogate pair"), &around(b"\\ud800"));
            add(format!("{name} with a raw control character"), &around(b"\n"));
        }
    }
    for whole in [
        "[]",
        "null",
        "true",
        "42",
        "\"text\"",
        "{}x",
        "NaN",
        "\u{feff}{}",
        "{'a':1}",
        "{\"a\":1,}",
        "/**/{}",
        "[null,null,true]",
    ] {
        add(format!("only {whole}"), &whole);
    }
    // Members in the order of the declaration: what a lenient reader takes for the object itself.
    let values: Vec<&Value> = object.values().collect();
    let nulls = std::iter::repeat_n(json!(null), 5);
    for length in values.len()..=5 {
        let row: Vec<Value> = values.iter().copied().cloned().chain(nulls.clone()).take(length).collect();
        add(format!("an array of {length}"), &Value::from(row).to_string());
    }
    add("an array of an object".into(), &format!("[{text}]"));
    add("an object and more".into(), &format!("{text}{text}"));
    add("a depth of brackets".into(), &"[".repeat(BODY_LIMIT));
    add("a depth of braces".into(), &"{\"a\":".repeat(3_000));
    add("UTF-16".into(), &text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>());
    for end in 0..text.len() {
        add(format!("only {end} bytes"), &&text.as_bytes()[..end]);
    }
    bad
}
