use proptest::prelude::*;
use serde_json::json;

use super::*;

const PANICKED: &str = "cannot be worked out: write it in another way";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn berlin() -> TimeZone {
    TimeZone::get("Europe/Berlin").unwrap()
}

/// The value at 02:30 on 30 March 2026 in Berlin; the slot before was on the 28th, since the 29th has no 02:30.
fn value(expression: &str) -> Result<String, String> {
    slot_value(expression, at("2026-03-30T00:30:00Z"), Some(at("2026-03-28T01:30:00Z")), &berlin())
}

#[test]
fn a_slot_becomes_a_text_in_the_zone_of_the_schedule() {
    for (expression, expected) in [
        ("format(slot, '%Y-%m-%d')", "2026-03-30"),
        ("format(slot, '%Y-%m-%dT%H:%M:%S%:z')", "2026-03-30T02:30:00+02:00"),
        ("format(slot - duration('24h'), '%Y%m%d')", "20260329"),
        // 02:30 the day before does not exist: by the zone it is 01:30.
        ("format(slot - duration('24h'), '%F %H:%M %Z')", "2026-03-29 01:30 CET"),
        ("format(previousSlot, '%F %H:%M %Z')", "2026-03-28 02:30 CET"),
        ("format(slot, '%A, week %V, day %j, Q%q')", "Monday, week 14, day 089, Q1"),
        ("format(slot, '%s')", "1774830600"),
        ("format(timestamp('2026-01-01T00:00:00Z'), '%H')", "01"),
        ("slot.getHours()", "2"),
        ("slot.getHours('UTC')", "0"),
        ("previousSlot.getHours()", "2"),
        ("slot.getFullYear() * 100 + slot.getMonth() + 1", "202603"),
        ("slot.getDayOfWeek() == 1", "true"),
        ("slot.getDayOfWeek() == 1 ? 'full' : 'delta'", "full"),
        ("slot - previousSlot == duration('47h')", "true"),
        ("int(slot)", "1774830600"),
        ("string(slot)", "2026-03-30T00:30:00Z"),
        ("'s3://data/' + format(slot, '%Y/%m/%d') + '/'", "s3://data/2026/03/30/"),
        ("uint(7)", "7"),
        ("-7", "-7"),
        ("''", ""),
        ("format(slot, '%%')", "%"),
        (r#""it's " + r'\d' + 'Gr\u00fc\u00dfe'"#, "it's \\dGr\u{fc}\u{df}e"),
    ] {
        assert_eq!(value(expression), Ok(expected.to_owned()), "{expression}");
    }
    let first = slot_value("string(slot - previousSlot == duration('0'))", at("2026-03-30T00:30:00Z"), None, &berlin());
    assert_eq!(first, Ok("true".to_owned()), "where there is none before it, it is the slot itself");
}

#[test]
fn what_is_wrong_is_told_with_what_to_write_instead() {
    for (expression, told) in [
        ("slot", "is a time; want a text, a whole number or a truth value: format(…), string(…) or int(…) make one"),
        ("slot - previousSlot", "is a duration; want"),
        ("1.5", "is a number with a fraction; want"),
        ("[slot]", "is a list; want"),
        ("{'a': 1}", "is a map; want"),
        ("null", "is null; want"),
        ("b'x'", "is bytes; want"),
        ("day", "Undeclared reference to 'day'; known are slot, previousSlot, format(time, '%Y-%m-%d'), duration('24h') and"),
        ("now()", "Undeclared reference to 'now'; known are"),
        ("[1].map(x, x)", "Undeclared reference to"),
        ("format(slot)", "Invalid argument count"),
        ("format('a', '%Y')", "Unexpected type"),
        ("format(slot, '%!')", "Error executing function 'format': "),
        ("format(slot, '%')", "Error executing function 'format': "),
        ("format(slot, '%E')", "Error executing function 'format': "),
        ("format(timestamp('9999-12-31T23:59:59Z'), '%F')", "Error executing function 'format': "),
        ("duration('24h') * 2", "Unsupported binary operator"),
        ("format(timestamp('9999-12-30T00:00:00Z') + duration('876000h'), '%F')", "Overflow"),
        ("1 / 0", "Division by zero"),
        ("9223372036854775807 + 1", "Overflow"),
        ("slot.getHours('Mars/Phobos')", "Error executing function 'timezone': unknown time zone Mars/Phobos"),
        ("duration('a day')", "Error executing function"),
        (r"'a\u0000b'", "makes a text with a NUL character"),
        ("format(slot, '%Y", "is not a CEL expression at character "),
        ("", "is not a CEL expression"),
        ("1 +", "is not a CEL expression at character "),
        ("a ? b", "is not a CEL expression"),
        ("{'a': 1}.?a", "is not a CEL expression"),
        ("$(NAME)", "is not a CEL expression at character "),
    ] {
        let error = value(expression).expect_err(expression);
        assert!(error.starts_with(told) && !error.contains('\n'), "{expression}: {error}");
    }
    let long_letters = format!("format(slot, '{}')", "x".repeat(257));
    assert!(value(&long_letters).unwrap_err().contains("the letters are 257 bytes long; at most 256 are allowed"));
    let long_value = format!("'{}' + format(slot, '{}')", "\u{1f600}".repeat(960), "%c".repeat(16));
    assert_eq!(value(&long_value).unwrap_err(), "makes a text of 4240 bytes; at most 4096 are allowed");
    assert_eq!(value(&format!("'{}'", "é".repeat(1023))).unwrap_err(), "has 1025 characters; at most 1024 are allowed");
    assert_eq!(value(&("(".repeat(500) + "1")).unwrap_err(), "has 500 brackets within one another; at most 16 are allowed");
    assert_eq!(value(&("1+".repeat(129) + "1")).unwrap_err(), "has 129 operators and signs; at most 128 are allowed");
}

fn parameters(written: serde_json::Value) -> Vec<api::Parameter> {
    serde_json::from_value(written).unwrap()
}

#[test]
fn a_task_is_refused_with_the_field_and_a_run_gets_the_values_in_order() {
    let task = parameters(json!([
        { "name": "MODE", "default": "full" },
        { "name": "DAY", "fromSlot": "format(slot, '%F')" },
        { "name": "SINCE", "fromSlot": "format(previousSlot, '%F %H:%M')" },
    ]));
    let written = json!({ "cron": ["30 2 * * *"], "timeZone": "Europe/Berlin", "notBefore": "2026-03-01T00:00:00Z" });
    let schedule = Schedule::parse(&serde_json::from_value(written).unwrap(), "etl", "import").unwrap();
    assert_eq!(check_slot_values(&task, &schedule.zone), Ok(()));
    let values = |slot: &str| -> Vec<(String, String)> {
        slot_values(&task, at(slot), &schedule).unwrap().into_iter().map(|value| (value.name, value.value)).collect()
    };
    let expected = |day: &str, since: &str| vec![("DAY".to_owned(), day.to_owned()), ("SINCE".to_owned(), since.to_owned())];
    assert_eq!(values("2026-03-30T00:30:00Z"), expected("2026-03-30", "2026-03-28 02:30"));
    assert_eq!(values("2026-03-01T01:30:00Z"), expected("2026-03-01", "2026-03-01 02:30"), "the first there is");
    for (expression, told) in [
        ("format(slot, '%E')", "parameters[1].fromSlot: Error executing function 'format': "),
        ("slot.getMonth() == 1 && slot.getDate() == 29 ? string(1 / 0) : ''", "parameters[1].fromSlot: Division by zero"),
        ("slot.getDayOfYear() == 365 ? slot : ''", "parameters[1].fromSlot: is a time; want"),
        ("slot.getFullYear() == 2027 ? dya : ''", "parameters[1].fromSlot: Undeclared reference to 'dya'"),
    ] {
        let task = parameters(json!([{ "name": "A", "fromSlot": "'a'" }, { "name": "B", "fromSlot": expression }]));
        let error = check_slot_values(&task, &TimeZone::UTC).unwrap_err();
        assert!(error.starts_with(told), "{error}");
    }
    let later = parameters(json!([{ "name": "A", "fromSlot": "slot.getFullYear() == 2041 ? string(1 / 0) : ''" }]));
    assert_eq!(check_slot_values(&later, &TimeZone::UTC), Ok(()), "what no sample finds");
    let error = slot_values(&later, at("2041-01-01T00:00:00Z"), &schedule).unwrap_err();
    assert!(error.starts_with("parameters[0].fromSlot: Division by zero"), "{error}");
    assert_eq!(slot_values(&parameters(json!([{ "name": "A", "default": "a" }])), at("2041-01-01T00:00:00Z"), &schedule), Ok(vec![]));
}

#[test]
fn the_deepest_expressions_that_are_allowed_have_room() {
    let (n, brackets) = (expression::MOST_OPERATORS, expression::DEEPEST);
    for text in [
        "1+".repeat(n) + "1",
        "!".repeat(n) + "true",
        "- ".repeat(n) + "1",
        "(".repeat(brackets) + "1" + &")".repeat(brackets),
        "{1:".repeat(brackets) + "1" + &"}".repeat(brackets),
        "string(".repeat(brackets) + "1" + &")".repeat(brackets),
        "slot[".repeat(brackets) + "1" + &"]".repeat(brackets),
        "slot.f(".repeat(brackets) + "1" + &")".repeat(brackets),
        "slot.".repeat(n) + "a",
        "false?1:".repeat(n / 2) + "1",
        "true?".repeat(n / 2) + "1" + &":1".repeat(n / 2),
        "true&&".repeat(n / 2) + "true",
        "1 in ".repeat(204) + "[]",
        "(1+".repeat(brackets) + &"1+".repeat(n - brackets) + "1" + &")".repeat(brackets),
    ] {
        let ended = value(&text);
        assert_ne!(ended, Err(PANICKED.to_owned()), "{text}");
        assert!(!format!("{ended:?}").contains("at most"), "{ended:?}");
    }
}

#[test]
fn a_panic_is_told_and_ends_nothing() {
    assert_eq!(with_room::<()>(|| std::panic::resume_unwind(Box::new("as a parser might"))), Err(PANICKED.to_owned()));
}

fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "slot",
        "previousSlot",
        "format(",
        "duration(",
        "timestamp(",
        "'24h'",
        "'%Y-%m-%d'",
        "'%9999999Y'",
        "'%-_0^#5Q'",
        "'2026-01-01T00:00:00+99:00'",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        ",",
        ":",
        "?",
        " + ",
        " - ",
        " * ",
        " / ",
        " % ",
        "!",
        "-",
        ".",
        " in ",
        " == ",
        " < ",
        " && ",
        " || ",
        "1",
        "0u",
        "9223372036854775807",
        "-9223372036854775808",
        "1e308",
        "0x",
        "null",
        "true",
        r"b'\xff'",
        r"r'\'",
        "\"",
        "'",
        "'''",
        "\\",
        "\\u",
        "string(",
        "int(",
        "uint(",
        "double(",
        "size(",
        "dyn(",
        "type(",
        ".getHours(",
        ".getDayOfYear(",
        "'Europe/Berlin'",
        "'-99:99'",
        ".size()",
        ".map(x, x)",
        "has(",
        "\u{fc}",
        "\u{1f600}",
        "`a`",
        "@",
        "//",
    ]);
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

/// Expressions that parse, with what arithmetic goes wrong on.
fn well_formed() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "slot",
        "previousSlot",
        "0",
        "1",
        "-1",
        "7u",
        "9223372036854775807",
        "-9223372036854775808",
        "18446744073709551615u",
        "1e308",
        "-0.0",
        "''",
        "'%F'",
        "'\u{1f600}'",
        "b'\u{ff}'",
        "true",
        "null",
        "[]",
        "{}",
        "duration('-0.1ns')",
        "duration('87600000h')",
        "duration('-87600000h')",
        "timestamp('0001-01-01T00:00:00Z')",
        "timestamp('9999-12-31T23:59:59.999999999Z')",
        "timestamp('0001-01-01T00:00:00+00:01')",
        "timestamp('2028-02-29T23:59:60Z')",
        "timestamp('1900-01-01T00:00:00-23:59')",
    ])
    .prop_map(str::to_owned);
    leaf.prop_recursive(4, 24, 3, |inner| {
        let operator = prop::sample::select(vec!["+", "-", "*", "/", "%", "==", "!=", "<", ">=", "&&", "||", " in "]);
        let call = prop::sample::select(vec![
            "string",
            "int",
            "uint",
            "double",
            "size",
            "bytes",
            "bool",
            "timestamp",
            "duration",
            "type",
            "dyn",
            "-",
            "!",
        ]);
        let getter = prop::sample::select(vec![
            "getFullYear",
            "getMonth",
            "getDate",
            "getDayOfMonth",
            "getDayOfWeek",
            "getDayOfYear",
            "getHours",
            "getMinutes",
            "getSeconds",
            "getMilliseconds",
            "size",
        ]);
        let zone = prop::sample::select(vec!["", "", "'UTC'", "'-23:59'", "'23:59'", "'America/Havana'", "'99'", "':'"]);
        prop_oneof![
            (inner.clone(), operator, inner.clone()).prop_map(|(a, operator, b)| format!("({a} {operator} {b})")),
            (call, inner.clone()).prop_map(|(call, a)| format!("{call}({a})")),
            (inner.clone(), getter, zone).prop_map(|(a, getter, zone)| format!("{a}.{getter}({zone})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("format({a}, {b})")),
            (inner.clone(), inner.clone(), inner.clone()).prop_map(|(a, b, c)| format!("({a} ? {b} : {c})")),
            (inner.clone(), inner).prop_map(|(a, b)| format!("[{a}][{b}]")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_expression_makes_anything_panic(any in "\\PC{0,60}", pieces in pieces(), letters in "%[-_0^#]?[0-9]{0,4}[:.]?[a-zA-Z%!]", well_formed in well_formed()) {
        for text in [any, pieces, well_formed, format!("format(slot, '{letters}')")] {
            prop_assert_ne!(value(&text), Err(PANICKED.to_owned()), "{}", text);
        }
    }
}
