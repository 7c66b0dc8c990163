//! Forms in `application/x-www-form-urlencoded`, the format of OAuth's token endpoint.

use std::collections::HashMap;

use crate::refusal::Refusal;
use crate::server::{Request, decode};

/// A form's parameters. No name occurs twice.
pub type Form = HashMap<String, String>;

/// Reads a form from a request's body. A parameter given twice is an error (RFC 6749, 3.2).
pub fn read(request: &Request) -> Result<Form, Refusal> {
    let wrong = |why: &str| Refusal::oauth(400, "invalid_request", why);
    let kind = request.header("content-type").unwrap_or_default();
    if kind.split(';').next().map(str::trim) != Some("application/x-www-form-urlencoded") {
        return Err(wrong("the content type must be application/x-www-form-urlencoded"));
    }
    let text = std::str::from_utf8(&request.body).map_err(|_| wrong("the body is not UTF-8"))?;
    let mut form = Form::new();
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').ok_or_else(|| wrong("a parameter has no value"))?;
        if form.insert(decode(name), decode(value)).is_some() {
            return Err(wrong("a parameter occurs twice"));
        }
    }
    Ok(form)
}

/// Returns a required parameter.
pub(crate) fn field<'a>(form: &'a Form, name: &str) -> Result<&'a str, Refusal> {
    match form.get(name).map(String::as_str) {
        Some("") | None => Err(Refusal::oauth(400, "invalid_request", format!("{name} is missing"))),
        Some(value) => Ok(value),
    }
}
