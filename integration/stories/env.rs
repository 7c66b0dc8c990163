//! `ycred env`: the token as shell variables.

use crate::expect::fails_with;
use crate::world::World;

#[test]
fn env_prints_the_token_in_the_syntax_of_each_shell() {
    let world = World::new();
    let token = world.get();
    for shell in ["sh", "bash", "zsh", "fish", "powershell"] {
        let run = world.ycred(&["env", "--shell", shell]).run().exits(0).stderr_is_empty();
        assert!(run.stdout.contains(&format!("'{token}'")), "{run}");
    }
    let run = world.ycred(&["env", "--shell", "dotenv"]).run().exits(0).stderr_is_empty();
    assert!(run.stdout.contains(&format!("\nYC_TOKEN={token}\n")), "{run}");
    fails_with(world.ycred(&["env", "--shell", "tcsh"]).run(), 2, &["--shell", "tcsh"]);
    assert_eq!(world.requests(), 1);
}
