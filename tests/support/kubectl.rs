//! `kubectl`, as users run it.

use std::{
    env,
    io::Write,
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use super::cluster::kubeconfig;

/// Runs `kubectl`: the one that `$KUBECTL` names, else that of the local cluster, else the one on the path.
pub async fn kubectl(args: &[&str], stdin: Option<&str>) -> Output {
    let (program, mut command) = command(args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let input = stdin.unwrap_or_default().to_owned();
    let output = move || {
        let mut child = command.spawn()?;
        // kubectl may end without reading its input; what it says then tells more than our broken pipe.
        let _ = child.stdin.take().expect("stdin is piped").write_all(input.as_bytes());
        child.wait_with_output()
    };
    let output = tokio::task::spawn_blocking(output).await.expect("running kubectl does not panic");
    output.unwrap_or_else(|e| panic!("running {}: {e}", program.display()))
}

/// Runs `kubectl` where nothing can be awaited, such as in a `drop`, and says so where it fails.
pub(super) fn kubectl_blocking(args: &[&str]) {
    let (program, mut command) = command(args);
    let output = command.output().unwrap_or_else(|e| panic!("running {}: {e}", program.display()));
    if !output.status.success() {
        eprintln!("kubectl {} failed: {}", args.join(" "), String::from_utf8_lossy(&output.stderr));
    }
}

fn command(args: &[&str]) -> (PathBuf, Command) {
    let local = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(".cluster/bin/kubectl");
    let given = env::var_os("KUBECTL").filter(|path| !path.is_empty()).map(PathBuf::from);
    let program = given.unwrap_or_else(|| if local.exists() { local } else { "kubectl".into() });
    let mut command = Command::new(&program);
    command.args(args).env("KUBECONFIG", kubeconfig());
    (program, command)
}

/// Runs `kubectl`, which must succeed, and returns what it printed.
pub async fn kubectl_ok(args: &[&str], stdin: Option<&str>) -> String {
    let output = kubectl(args, stdin).await;
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "kubectl {} failed: {errors}", args.join(" "));
    String::from_utf8(output.stdout).expect("kubectl prints UTF-8")
}
