//! The modules depend on one another in one direction, and on nothing that is not in this list.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

/// Which module may use which. A new edge deserves a thought before it deserves a line here.
const ALLOWED: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("clock", &[]),
    ("machine", &["domain"]),
    ("opencode", &["domain"]),
    ("config", &[]),
    ("plugin", &[]),
    ("state_dir", &[]),
    ("guard", &["config"]),
    ("registry", &["clock", "domain"]),
    ("events", &["domain", "opencode"]),
    ("discovery", &["domain", "machine", "opencode", "registry"]),
    ("sync", &["discovery", "domain", "machine", "opencode", "registry"]),
    ("proxy", &["domain", "events", "guard", "opencode", "registry"]),
    ("metrics", &["domain"]),
    // Registering is finding, the other way round: the same registry, the same door that discovery keeps.
    (
        "registration",
        &["clock", "config", "discovery", "domain", "machine", "opencode", "registry", "state_dir"],
    ),
    // What it starts comes in by the same door, and is a server as any other from then on.
    ("spawn", &["clock", "config", "discovery", "domain", "machine", "opencode", "registry", "state_dir"]),
    (
        "api",
        &["discovery", "domain", "guard", "machine", "metrics", "proxy", "registration", "registry", "spawn"],
    ),
    ("front", &["api", "domain", "events", "guard", "machine", "metrics", "opencode", "proxy", "registry"]),
    // It makes sure of the daemon as a plugin does, before it tells the secret. The tail reads our own streams as any
    // client would, with the decoders that are there.
    ("cli", &["api", "config", "domain", "events", "opencode", "plugin", "registration", "state_dir"]),
    (
        "app",
        &[
            "api",
            "config",
            "discovery",
            "domain",
            "events",
            "front",
            "guard",
            "machine",
            "metrics",
            "opencode",
            "proxy",
            "registration",
            "registry",
            "spawn",
            "state_dir",
            "sync",
        ],
    ),
];

#[test]
fn no_module_uses_one_it_may_not() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    read(&source, &source, &mut edges);
    let allowed: BTreeMap<&str, BTreeSet<&str>> =
        ALLOWED.iter().map(|(module, used)| (*module, used.iter().copied().collect())).collect();
    for (module, used) in &edges {
        let may = allowed.get(module.as_str()).unwrap_or_else(|| panic!("src/{module} is not in the list"));
        for other in used {
            assert!(
                may.contains(other.as_str()),
                "src/{module} uses crate::{other}, which is not in the list"
            );
        }
    }
    for (module, may) in &allowed {
        let used = edges.get(*module).unwrap_or_else(|| panic!("{module} is in the list but not in src/"));
        for other in may {
            assert!(
                used.contains(*other),
                "src/{module} no longer uses crate::{other}: take it out of the list"
            );
        }
    }
}

fn read(source: &Path, directory: &Path, edges: &mut BTreeMap<String, BTreeSet<String>>) {
    for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            read(source, &path, edges);
            continue;
        }
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let relative = path.strip_prefix(source).unwrap();
        let module = relative.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs").to_owned();
        // Tests may look at anything.
        if matches!(module.as_str(), "lib" | "main")
            || relative.iter().any(|part| part == "tests.rs" || part == "tests")
        {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let product = text.split("#[cfg(test)]\nmod ").next().unwrap();
        let used = edges.entry(module.clone()).or_default();
        used.extend(used_modules(product).into_iter().filter(|other| *other != module));
    }
}

/// The modules named after `crate::`, alone or at the first level of braces.
fn used_modules(text: &str) -> BTreeSet<String> {
    let code: String =
        text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let mut used = BTreeSet::new();
    for (start, _) in code.match_indices("crate::") {
        let rest = &code[start + "crate::".len()..];
        let Some(group) = rest.strip_prefix('{') else {
            used.insert(identifier(rest));
            continue;
        };
        let mut depth = 1;
        let mut item = String::new();
        for character in group.chars() {
            match character {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 1 => {
                    used.insert(identifier(item.trim()));
                    item.clear();
                    continue;
                }
                _ => {}
            }
            if depth == 0 {
                break;
            }
            item.push(character);
        }
        used.insert(identifier(item.trim()));
    }
    used.remove("");
    used
}

fn identifier(text: &str) -> String {
    text.chars().take_while(|character| character.is_alphanumeric() || *character == '_').collect()
}
