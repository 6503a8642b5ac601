//! A machine of its own for tests in which the daemon looks for servers: no process and no port of anybody else.
//!
//! A test that calls [`isolated`] runs again, alone, in new network, process and mount namespaces made by `unshare`
//! (util-linux), with its own `lo` (iproute2) and its own `/proc`. Within, only what the test started exists. As
//! root that works where the kernel allows namespaces; otherwise a user namespace is made as well.

use std::{any::type_name, os::unix::fs::MetadataExt, process::Command};

/// Tells the second run that it is the inner one.
const MARK: &str = "POINTSMAN_TEST_ISOLATED";

/// Longer than any test waits; an inner run that hangs fails by itself long before.
const AT_MOST_SECONDS: &str = "170";

/// Runs `test` on a machine of its own. To be the whole body of a plain `#[test]`:
///
/// `#[test] fn a_new_server_is_found() { isolated(async || { … }) }`
pub fn isolated<F>(test: F)
where
    F: AsyncFnOnce(),
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    if is_isolated() {
        return runtime.block_on(test());
    }
    // Inner runs cannot see each other's places, so the outer one takes it for them.
    let _permit = runtime.block_on(super::opencode::permit());
    let name = name_of::<F>();
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", AT_MOST_SECONDS, "unshare"]);
    if std::fs::metadata("/proc/self").map_or(0, |own| own.uid()) != 0 {
        command.arg("--map-root-user");
    }
    command.args(["--net", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    command.args(["sh", "-c", "ip link set lo up && exec \"$@\"", "sh"]);
    command.arg(std::env::current_exe().expect("the test binary"));
    command.args(["--exact", &name, "--nocapture", "--test-threads=1"]).env(MARK, "1");
    let output = command.output().expect("timeout and unshare are installed");
    let wrote =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{name} failed in its own namespaces ({}):\n{wrote}", output.status);
    assert!(wrote.contains("1 passed"), "{name} was not found by that name:\n{wrote}");
}

/// Fails a test that would see, or disturb, the servers of the person who runs it.
pub fn assert_isolated() {
    assert!(is_isolated(), "a scanning daemon belongs into `isolated(async || …)`");
}

fn is_isolated() -> bool {
    std::env::var_os(MARK).is_some()
}

/// The test's name as the test runner knows it: the path of the closure, without crate and closure.
fn name_of<F>() -> String {
    let path = type_name::<F>();
    let path = path.split_once("::").map_or(path, |(_crate, rest)| rest);
    path.split("::{{closure}}").next().unwrap_or(path).to_owned()
}
