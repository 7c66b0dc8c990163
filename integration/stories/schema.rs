//! Checks JSON against the schemas in docs/schemas.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::harness::{find, skip};

/// Validates with Python's jsonschema, which is not ours. Skips if it is not installed.
#[track_caller]
pub fn assert_schema(schema: &str, json: &Value) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/schemas").join(schema);
    let Some(python) = find("python3") else { return skip("python3 is not in PATH") };
    let script = "import json, sys\ntry:\n    from jsonschema import Draft202012Validator as V\nexcept ImportError:\n    sys.exit(9)\n\
                  schema = json.load(open(sys.argv[1]))\nV.check_schema(schema)\n\
                  errors = list(V(schema).iter_errors(json.load(sys.stdin)))\n\
                  def leaves(error):\n    return [x for e in error.context for x in leaves(e)] or [error]\n\
                  [print(list(x.absolute_path), x.message) for e in errors for x in leaves(e)]\nsys.exit(bool(errors))\n";
    let mut child = Command::new(python)
        .args(["-c", script])
        .arg(path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("python runs");
    child.stdin.take().expect("a pipe").write_all(json.to_string().as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    if output.status.code() == Some(9) {
        return skip("Python has no jsonschema");
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{schema}: {text}\n{json:#}");
}
