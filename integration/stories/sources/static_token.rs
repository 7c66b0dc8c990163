//! Source `static`.

use crate::expect::fails_with;
use crate::harness::Sandbox;

#[test]
fn a_static_token_comes_from_a_file_or_a_variable_and_is_never_cached() {
    let sandbox = Sandbox::new();
    sandbox.file("config/token", "t1.from-a-file.x\n");
    sandbox.profile("default", "source = \"static\"\ntoken-file = \"token\"\n");
    sandbox.ycred(["token"]).run().exits(0).stderr_is_empty().stdout_is("t1.from-a-file.x\n");
    sandbox.file("config/token", "t1.rewritten.x");
    sandbox.ycred(["token"]).run().exits(0).stderr_is_empty().stdout_is("t1.rewritten.x\n");
    sandbox.profile("default", "source = \"static\"\ntoken-env = \"MY_TOKEN\"\n");
    let call = |token: &str| sandbox.ycred(["token"]).env("MY_TOKEN", token).run();
    call("t1.one.x").exits(0).stderr_is_empty().stdout_is("t1.one.x\n");
    call("t1.two.x").exits(0).stderr_is_empty().stdout_is("t1.two.x\n");
    fails_with(call(""), 3, &["default.toml:2", "MY_TOKEN", "which is set, but empty"]);
    fails_with(call("a b"), 3, &["MY_TOKEN", "not a token"]);
    sandbox.profile("default", "source = \"static\"\ntoken-file = \"gone\"\n");
    fails_with(sandbox.ycred(["token"]).run(), 3, &["config/gone", "no such file"]);
    assert!(!sandbox.path("cache").exists());
}
