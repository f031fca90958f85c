//! As much of JSON Schema as the schemas of `docs/engine` use. A keyword that is not known here fails the test,
//! so that no schema can say more than is checked.

use serde_json::Value;

/// What is wrong with `value`, nothing when it fits.
pub(crate) fn violation(schema: &Value, value: &Value) -> Option<String> {
    let rules = schema.as_object().expect("a schema is an object");
    rules.iter().find_map(|(keyword, rule)| {
        let fits = match keyword.as_str() {
            "$schema" | "title" | "description" | "examples" => true,
            "type" => fits_type(rule, value),
            "const" => rule == value,
            "enum" => rule.as_array().expect("enum lists").contains(value),
            "required" => required(rule, value),
            "properties" => return properties(rule, value),
            "additionalProperties" => return additional(schema, rule, value),
            "items" => return value.as_array()?.iter().find_map(|item| violation(rule, item)),
            "minItems" => value.as_array().is_none_or(|items| items.len() as u64 >= number(rule)),
            "maxItems" => value.as_array().is_none_or(|items| items.len() as u64 <= number(rule)),
            "minLength" => value.as_str().is_none_or(|text| text.chars().count() as u64 >= number(rule)),
            "minimum" => value.as_f64().is_none_or(|value| value >= bound(rule)),
            "maximum" => value.as_f64().is_none_or(|value| value <= bound(rule)),
            "pattern" => value.as_str().is_none_or(|text| matches(rule.as_str().expect("text"), text)),
            "oneOf" => {
                let choices = rule.as_array().expect("oneOf lists");
                choices.iter().filter(|choice| violation(choice, value).is_none()).count() == 1
            }
            unknown => panic!("the check does not know the keyword {unknown}"),
        };
        (!fits).then(|| format!("{keyword} {rule} does not hold for {value}"))
    })
}

fn number(rule: &Value) -> u64 {
    rule.as_u64().expect("a bound is a number")
}

fn bound(rule: &Value) -> f64 {
    rule.as_f64().expect("a bound is a number")
}

fn fits_type(rule: &Value, value: &Value) -> bool {
    if let Some(choices) = rule.as_array() {
        return choices.iter().any(|choice| fits_type(choice, value));
    }
    match rule.as_str().expect("a type has a name") {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        unknown => panic!("the check does not know the type {unknown}"),
    }
}

fn required(rule: &Value, value: &Value) -> bool {
    let Some(object) = value.as_object() else { return true };
    let names = rule.as_array().expect("required lists");
    names.iter().all(|name| object.contains_key(name.as_str().expect("a name")))
}

fn properties(rule: &Value, value: &Value) -> Option<String> {
    let rules = rule.as_object().expect("properties is an object");
    let object = value.as_object()?;
    object
        .iter()
        .find_map(|(name, value)| violation(rules.get(name)?, value).map(|why| format!("{name}: {why}")))
}

fn additional(schema: &Value, rule: &Value, value: &Value) -> Option<String> {
    let known = |name: &String| schema["properties"].get(name).is_some();
    let mut others = value.as_object()?.iter().filter(|(name, _)| !known(name));
    if *rule == Value::Bool(false) {
        return others.next().map(|(name, _)| format!("{name} is not part of it"));
    }
    others.find_map(|(_, value)| violation(rule, value))
}

/// The patterns in use, written out.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern {
        "^call_[0-9A-HJKMNP-TV-Z]{26}$" => text.parse::<callingedge::call::CallId>().is_ok(),
        "^sips?:" => text.starts_with("sip:") || text.starts_with("sips:"),
        "^[0-9*#A-D]$" => text.len() == 1 && text.chars().all(|c| "0123456789*#ABCD".contains(c)),
        "^[0-9*#A-Da-d]{1,32}$" => {
            (1..=32).contains(&text.len()) && text.chars().all(|c| "0123456789*#ABCDabcd".contains(c))
        }
        "^[a-z0-9_]+(\\.[a-z0-9_]+)*$" => text
            .split('.')
            .all(|part| !part.is_empty() && part.chars().all(|c| matches!(c, 'a'..='z' | '0'..='9' | '_'))),
        "^[^\\u0000-\\u001f\\u007f-\\u009f]*$" => !text.contains(char::is_control),
        unknown => panic!("the check does not know the pattern {unknown}"),
    }
}
