//! Canonical JSON (docs/FORMAT.md section 1.1): one spelling for each value, written and insisted upon. Also the
//! variant for Azure's own JSON, which keeps numbers as they were written. Knows no file and no schema.

use std::cmp::Ordering;

use serde::de::{DeserializeOwned, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::{Error, Fault};

/// How deeply arrays and objects may be nested.
pub const DEPTH_MAX: usize = 32;

/// The largest integer that every JSON implementation keeps: 2^53 - 1.
pub const INTEGER_MAX: u64 = (1 << 53) - 1;

/// Which numbers may stand in a canonical text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbers {
    /// Integers up to [`INTEGER_MAX`] in their shortest form: ours.
    Integers,
    /// Any, kept as they are written: Azure's.
    Verbatim,
}

/// The canonical form of a value.
pub fn write<T: Serialize>(value: &T) -> Result<Vec<u8>, Error> {
    let mut out = Vec::new();
    put_value(&serde_json::to_value(value).map_err(|error| not_json(&error))?, DEPTH_MAX, &mut out)?;
    Ok(out)
}

/// Reads a value that must be spelt canonically. Unknown members are refused with it, since they are not written back.
pub fn read<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    // What is written back as it was read is canonical; only what is not needs a second look, for the reason.
    let value = serde_json::from_slice::<T>(bytes).ok();
    let value = value.filter(|value| write(value).is_ok_and(|text| text == bytes));
    value.ok_or_else(|| why_not::<T>(bytes))
}

/// The first reason that [`read`] has: the spelling, then the schema, then the spelling that the schema gives.
fn why_not<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Error {
    let reason = || -> Result<(), Error> {
        insist(bytes, &canonical(parse(bytes)?, Numbers::Integers)?)?;
        let value: T = serde_json::from_slice(bytes)
            .map_err(|error| Error::new(Fault::BadMember, format!("byte {}: {}", error.column(), reason(&error))))?;
        insist(bytes, &write(&value)?)
    };
    reason().err().unwrap_or_else(|| Error::new(Fault::NotCanonical, "not the canonical form of any value"))
}

/// Reads a value that names its format, which must be `format`. A wrong one is told before anything else is looked at,
/// as nothing else can be understood.
pub fn read_format<T: Serialize + DeserializeOwned>(bytes: &[u8], format: &str) -> Result<T, Error> {
    check_format(bytes, format)?;
    read(bytes)
}

/// Refuses a JSON object unless its member `format` is `format`.
pub fn check_format(bytes: &[u8], format: &str) -> Result<(), Error> {
    let members = Members::of(parse(bytes)?)?;
    let named = members.0.iter().find(|(name, _)| name == "format");
    let named = named.and_then(|(_, value)| serde_json::from_str::<String>(value.get()).ok());
    let named = named.ok_or_else(|| Error::new(Fault::BadMember, "no format is named"))?;
    if named != format {
        let found: String = named.chars().take(40).collect();
        return Err(Error::new(Fault::UnknownFormat, format!("the format is {found:?}, not {format:?}")));
    }
    Ok(())
}

/// Refuses a text with more than `most` values, before room is made for them: a value takes two bytes of text and dozens of
/// memory. Of a text that is no JSON the part before its first fault is counted rightly, and no more than that is ever
/// parsed.
pub fn countable(text: &[u8], most: usize) -> Result<(), Error> {
    let (mut values, mut quoted, mut escaped) = (1_usize, false, false);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'{' | b'[' | b',' if !quoted => values += 1,
            _ => {}
        }
    }
    let fits = values <= most;
    fits.then_some(()).ok_or_else(|| Error::new(Fault::TooLarge, format!("{values} values, more than {most}")))
}

/// JSON of any spelling.
pub fn parse(bytes: &[u8]) -> Result<&RawValue, Error> {
    let text = std::str::from_utf8(bytes)
        .map_err(|error| Error::new(Fault::NotUtf8, format!("byte {} is not UTF-8", error.valid_up_to())))?;
    serde_json::from_str(text).map_err(|error| not_json(&error))
}

/// The canonical form of JSON of any spelling.
pub fn canonical(raw: &RawValue, numbers: Numbers) -> Result<Vec<u8>, Error> {
    let mut out = Vec::with_capacity(raw.get().len());
    put(raw, numbers, DEPTH_MAX, &mut out)?;
    Ok(out)
}

/// Appends the canonical form of a value of ours, where every number is an integer.
fn put_value(value: &Value, depth: usize, out: &mut Vec<u8>) -> Result<(), Error> {
    match value {
        Value::Object(members) => {
            let depth = deeper(depth)?;
            let mut members: Vec<(&String, &Value)> = members.iter().collect();
            members.sort_by(|(a, _), (b, _)| in_order(a, b));
            out.push(b'{');
            for (number, (name, value)) in members.into_iter().enumerate() {
                if number > 0 {
                    out.push(b',');
                }
                put_string(name, out)?;
                out.push(b':');
                put_value(value, depth, out).map_err(|error| error.at(name))?;
            }
            out.push(b'}');
        }
        Value::Array(items) => {
            let depth = deeper(depth)?;
            out.push(b'[');
            for (number, item) in items.iter().enumerate() {
                if number > 0 {
                    out.push(b',');
                }
                put_value(item, depth, out).map_err(|error| error.at(number))?;
            }
            out.push(b']');
        }
        Value::String(text) => put_string(text, out)?,
        Value::Number(number) => put_number(&number.to_string(), Numbers::Integers, out)?,
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(truth) => out.extend_from_slice(if *truth { b"true" } else { b"false" }),
    }
    Ok(())
}

/// Appends the canonical form of any JSON. Works on raw text level by level, so that numbers are never rounded on the way.
fn put(raw: &RawValue, numbers: Numbers, depth: usize, out: &mut Vec<u8>) -> Result<(), Error> {
    let text = raw.get();
    match text.as_bytes().first() {
        Some(b'{') => {
            let depth = deeper(depth)?;
            let members = Members::of(raw)?;
            out.push(b'{');
            for (number, (name, value)) in members.0.into_iter().enumerate() {
                if number > 0 {
                    out.push(b',');
                }
                put_string(&name, out)?;
                out.push(b':');
                put(value, numbers, depth, out).map_err(|error| error.at(&name))?;
            }
            out.push(b'}');
        }
        Some(b'[') => {
            let depth = deeper(depth)?;
            let items: Vec<&RawValue> = serde_json::from_str(text).map_err(|error| not_json(&error))?;
            out.push(b'[');
            for (number, item) in items.into_iter().enumerate() {
                if number > 0 {
                    out.push(b',');
                }
                put(item, numbers, depth, out).map_err(|error| error.at(number))?;
            }
            out.push(b']');
        }
        Some(b'"') => put_string(&serde_json::from_str::<String>(text).map_err(|error| not_json(&error))?, out)?,
        Some(b'-' | b'0'..=b'9') => put_number(text, numbers, out)?,
        _ => out.extend_from_slice(text.as_bytes()),
    }
    Ok(())
}

fn deeper(depth: usize) -> Result<usize, Error> {
    depth.checked_sub(1).ok_or_else(|| Error::new(Fault::TooDeep, format!("nested more than {DEPTH_MAX} deep")))
}

/// RFC 8785 section 3.2.3: by UTF-16 code units.
fn in_order(a: &str, b: &str) -> Ordering {
    if a.is_ascii() && b.is_ascii() { a.cmp(b) } else { a.encode_utf16().cmp(b.encode_utf16()) }
}

fn put_number(text: &str, numbers: Numbers, out: &mut Vec<u8>) -> Result<(), Error> {
    if numbers == Numbers::Integers && !is_integer(text) {
        return Err(Error::new(Fault::BadNumber, "the number is no integer from -(2^53 - 1) to 2^53 - 1"));
    }
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

/// RFC 8785 escapes what `serde_json` escapes, in the same way.
fn put_string(text: &str, out: &mut Vec<u8>) -> Result<(), Error> {
    serde_json::to_writer(out, text).map_err(|error| not_json(&error))
}

fn is_integer(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    text != "-0" && digits.bytes().all(|b| b.is_ascii_digit()) && digits.parse().is_ok_and(|n: u64| n <= INTEGER_MAX)
}

/// An object's members in the order of RFC 8785.
pub(super) struct Members<'a>(pub(super) Vec<(String, &'a RawValue)>);

impl<'a> Members<'a> {
    /// The members of a JSON object, sorted. No name may occur twice.
    pub(super) fn of(raw: &'a RawValue) -> Result<Self, Error> {
        if !raw.get().starts_with('{') {
            return Err(Error::new(Fault::BadMember, "this is not an object"));
        }
        let mut members: Members<'a> = serde_json::from_str(raw.get()).map_err(|error| not_json(&error))?;
        members.0.sort_by(|(a, _), (b, _)| in_order(a, b));
        let twice = members.0.iter().zip(members.0.iter().skip(1)).find(|((a, _), (b, _))| a == b);
        match twice {
            Some(((name, _), _)) => {
                Err(Error::new(Fault::DuplicateMember, format!("the member {name:?} occurs twice")))
            }
            None => Ok(members),
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Vec<(String, &'de RawValue)>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(pairs)
            }
        }
        deserializer.deserialize_map(Pairs).map(Members)
    }
}

/// Two spellings must be one.
fn insist(have: &[u8], want: &[u8]) -> Result<(), Error> {
    if have == want {
        return Ok(());
    }
    let at = have.iter().zip(want).take_while(|(have, want)| have == want).count();
    Err(Error::new(Fault::NotCanonical, format!("byte {at} is not as the canonical form of this value has it")))
}

fn not_json(error: &serde_json::Error) -> Error {
    Error::new(Fault::NotJson, format!("byte {}: {}", error.column(), reason(error)))
}

/// What `serde_json` says, without its position: it counts lines, and there is but one.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split_once(" at line ").map_or(text.clone(), |(reason, _)| reason.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn verbatim(text: &str) -> Result<String, Fault> {
        let raw = parse(text.as_bytes()).map_err(|error| error.fault)?;
        let bytes = canonical(raw, Numbers::Verbatim).map_err(|error| error.fault)?;
        Ok(String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn the_examples_of_rfc_8785_come_out_as_printed() {
        // Section 3.2.2, its strings and literals; section 3.2.3, the order of names.
        let strings =
            r#"{ "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/", "literals": [null, true, false] }"#;
        let want = "{\"literals\":[null,true,false],\"string\":\"€$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\"}";
        assert_eq!(verbatim(strings).as_deref(), Ok(want));
        let names = r#"{"\u20ac": "Euro Sign", "\r": "Carriage Return", "\ufb33": "Hebrew Letter Dalet With Dagesh",
            "1": "One", "\ud83d\ude00": "Emoji: Grinning Face", "\u0080": "Control",
            "\u00f6": "Latin Small Letter O With Diaeresis"}"#;
        let want = "{\"\\r\":\"Carriage Return\",\"1\":\"One\",\"\u{80}\":\"Control\",\
            \"ö\":\"Latin Small Letter O With Diaeresis\",\"€\":\"Euro Sign\",\
            \"😀\":\"Emoji: Grinning Face\",\"\u{fb33}\":\"Hebrew Letter Dalet With Dagesh\"}";
        assert_eq!(verbatim(names).as_deref(), Ok(want));
    }

    #[test]
    fn numbers_of_others_stay_as_they_are_written() {
        let text = "[1.0,1e2,-0,123456789012345678901234567890,0.1]";
        assert_eq!(verbatim(text).as_deref(), Ok(text));
    }

    #[test]
    fn each_fault_has_its_name_and_place() {
        for (text, fault, place) in [
            (r#"{"a":1.5}"#, Fault::BadNumber, "a"),
            (r#"{"a":[1,1e2]}"#, Fault::BadNumber, "a: 1"),
            (r#"{"a":-0}"#, Fault::BadNumber, "a"),
            (r#"{"a":9007199254740992}"#, Fault::BadNumber, "a"),
            (r#"{"a":{"b":1,"b":2}}"#, Fault::DuplicateMember, "a: "),
            (r#"{"b":1,"a":2}"#, Fault::NotCanonical, "byte 2"),
            (r#"{"a": 1}"#, Fault::NotCanonical, "byte 5"),
            (r#"{"a":"\u0041"}"#, Fault::NotCanonical, "byte 6"),
            (r#"{"a":1} "#, Fault::NotCanonical, "byte 7"),
            (r#"{"a":1}x"#, Fault::NotJson, "byte 8"),
            (r#"{"a":01}"#, Fault::NotJson, "byte"),
            (r#"{"a":"\ud800"}"#, Fault::NotJson, "a"),
            ("", Fault::NotJson, "byte 0"),
        ] {
            let error = read::<Value>(text.as_bytes()).unwrap_err();
            assert_eq!(error.fault, fault, "{text}: {error}");
            assert!(error.detail.contains(place), "{text}: {error}");
        }
        assert_eq!(read::<Value>(b"\"\xff\"").unwrap_err().fault, Fault::NotUtf8);
        assert!(read::<Value>(br#"{"a":[-9007199254740991,9007199254740991]}"#).is_ok());
    }

    #[test]
    fn depth_is_bounded_on_the_way_in() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(read::<Value>(nested(DEPTH_MAX).as_bytes()).is_ok());
        for depth in [DEPTH_MAX + 1, 100_000] {
            let error = read::<Value>(nested(depth).as_bytes()).unwrap_err();
            assert!(matches!(error.fault, Fault::TooDeep | Fault::NotJson), "{error}");
        }
    }

    #[test]
    fn a_schema_admits_one_spelling_too() {
        #[derive(Debug, Serialize, Deserialize)]
        struct Thing {
            format: String,
            maybe: Option<u64>,
        }
        let read = |text: &str| read_format::<Thing>(text.as_bytes(), "thing/1").map_err(|error| error.fault);
        assert!(read(r#"{"format":"thing/1","maybe":null}"#).is_ok());
        // An absent member that is written as null, and a member that nobody knows.
        assert_eq!(read(r#"{"format":"thing/1"}"#).unwrap_err(), Fault::NotCanonical);
        assert_eq!(read(r#"{"format":"thing/1","maybe":null,"more":1}"#).unwrap_err(), Fault::NotCanonical);
        assert_eq!(read(r#"{"format":"thing/1","maybe":"1"}"#).unwrap_err(), Fault::BadMember);
        assert_eq!(read(r#"{"format":"thing/2","maybe":"1"}"#).unwrap_err(), Fault::UnknownFormat);
        assert_eq!(read(r#"{"maybe":1}"#).unwrap_err(), Fault::BadMember);
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let integer = -(INTEGER_MAX as i64)..=INTEGER_MAX as i64;
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            integer.prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..5).prop_map(|map| json!(map)),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_value_has_one_spelling(value in any_value()) {
            let bytes = write(&value).unwrap();
            prop_assert_eq!(&read::<Value>(&bytes).unwrap(), &value);
            let pretty = serde_json::to_vec_pretty(&value).unwrap();
            prop_assert_eq!(canonical(parse(&pretty).unwrap(), Numbers::Verbatim).unwrap(), bytes);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, text in r#"([\[\]{},:"\\u0-9.eE+a -]|true|null){0,40}"#) {
            let _ = read::<Value>(&bytes);
            if let Ok(value) = read::<Value>(text.as_bytes()) {
                prop_assert_eq!(write(&value).unwrap(), text.as_bytes());
            }
        }
    }
}
