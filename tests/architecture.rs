//! The shape of the code, checked: imports point one way, the core is pure, each label is spelt once, files stay short
//! and named after what they hold, and the operator's RBAC has no Secrets. Every offence is told with file and line.

#![expect(clippy::unwrap_used, reason = "a test that cannot read the code has failed")]

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

/// The modules of the library and the layer of each: a module imports from lower layers only, and from itself.
const LAYERS: [(&str, u8); 19] = [
    ("api", 1),
    ("expression", 2),
    ("schedule", 3),
    ("outcome", 3),
    ("retry", 3),
    ("ledger", 3),
    ("slo", 4),
    ("build", 4),
    ("admission", 5),
    ("graph", 5),
    ("plan", 6),
    // Leaves that have effects: the pure layers above must not see them.
    ("clock", 7),
    ("metrics", 7),
    ("telemetry", 7),
    ("leader", 8),
    ("observe", 8),
    ("controller", 9),
    ("probe", 10),
    ("bin", 11),
];
const PURE: [&str; 11] = ["api", "expression", "schedule", "outcome", "retry", "ledger", "slo", "build", "admission", "graph", "plan"];

/// What pure code has no business with: words of the code, and why not.
const IMPURE: [(&str, &str); 27] = [
    ("async", "pure code waits for nothing"),
    ("await", "pure code waits for nothing"),
    ("tokio", "pure code has no runtime"),
    ("futures", "pure code has no runtime"),
    ("kube_runtime", "pure code has no client"),
    ("kube::runtime", "pure code has no client"),
    ("kube::client", "pure code has no client"),
    ("Client", "pure code has no client"),
    ("Api", "pure code has no client"),
    ("tracing", "pure code returns what there is to tell"),
    ("prometheus", "pure code returns what there is to tell"),
    ("println", "pure code returns what there is to tell"),
    ("print", "pure code returns what there is to tell"),
    ("eprintln", "pure code returns what there is to tell"),
    ("eprint", "pure code returns what there is to tell"),
    ("dbg", "pure code returns what there is to tell"),
    ("Timestamp::now", "pure code is told the time"),
    ("Zoned::now", "pure code is told the time"),
    ("SystemTime", "pure code is told the time"),
    ("Instant", "pure code is told the time"),
    ("TimeZone::system", "pure code is told the zone"),
    ("rand", "pure code is not random"),
    ("getrandom", "pure code is not random"),
    ("HashMap", "its order is random; use a BTreeMap"),
    ("HashSet", "its order is random; use a BTreeSet"),
    ("std::fs", "pure code reads no files"),
    ("std::env", "pure code reads no environment"),
];

const LONGEST_FILE: usize = 400;

const DRAWERS: [&str; 9] = ["utils", "util", "common", "helpers", "helper", "manager", "managers", "misc", "shared"];

#[derive(Debug, PartialEq)]
struct Offence {
    file: String,
    line: usize,
    problem: String,
}

impl fmt::Display for Offence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.problem)
    }
}

/// A file of Rust without its comments and tests: lines of code whose texts are blank, and the texts with their lines.
struct Source {
    file: String,
    code: Vec<String>,
    texts: Vec<(usize, String)>,
    lines_without_tests: usize,
}

impl Source {
    fn read(path: &Path) -> Self {
        let file = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
        Self::parse(&file, &fs::read_to_string(path).unwrap())
    }

    fn parse(file: &str, text: &str) -> Self {
        let (code, texts) = without_comments(text);
        let mut code: Vec<String> = code.lines().map(str::to_owned).collect();
        let is_test = blank_tests(&mut code);
        let texts = texts.into_iter().filter(|(line, _)| !is_test.get(line - 1).copied().unwrap_or(false)).collect();
        let tests = is_test.iter().filter(|is_test| **is_test).count();
        Self { file: file.to_owned(), code, texts, lines_without_tests: text.lines().count() - tests }
    }

    /// The top-level module that the file belongs to.
    fn module(&self) -> &str {
        let inside = self.file.strip_prefix("src/").unwrap_or(&self.file);
        inside.split('/').next().unwrap_or(inside).trim_end_matches(".rs")
    }

    fn is_pure(&self) -> bool {
        PURE.contains(&self.module())
    }

    fn offence(&self, line: usize, problem: String) -> Offence {
        Offence { file: self.file.clone(), line, problem }
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn files(under: &str, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(under)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_string_lossy().ends_with(ending) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The library and its binaries, without files that hold nothing but tests.
fn sources() -> Vec<Source> {
    let is_test = |path: &Path| path.file_stem().is_some_and(|stem| stem == "tests") || path.starts_with(root().join("src/testing"));
    let sources: Vec<Source> = files("src", ".rs").iter().filter(|path| !is_test(path)).map(|path| Source::read(path)).collect();
    assert!(sources.len() > 40, "only {} files were found", sources.len());
    sources
}

/// Takes comments out and blanks texts, and returns the texts with their lines.
fn without_comments(text: &str) -> (String, Vec<(usize, String)>) {
    let all: Vec<char> = text.chars().collect();
    let at = |i: usize| all.get(i).copied().unwrap_or('\0');
    let (mut code, mut texts, mut line, mut i) = (String::new(), Vec::new(), 1, 0);
    while i < all.len() {
        let begun = line;
        let in_word = i > 0 && (at(i - 1).is_alphanumeric() || at(i - 1) == '_');
        let hashes = if at(i) == 'r' && !in_word { all[i + 1..].iter().take_while(|c| **c == '#').count() } else { 0 };
        let end = if at(i) == '/' && at(i + 1) == '/' {
            all[i..].iter().position(|c| *c == '\n').map_or(all.len(), |n| i + n)
        } else if at(i) == '/' && at(i + 1) == '*' {
            (i + 2..all.len()).find(|n| at(*n) == '*' && at(n + 1) == '/').map_or(all.len(), |n| n + 2)
        } else if at(i) == 'r' && !in_word && at(i + 1 + hashes) == '"' {
            let closes = |n: usize| at(n) == '"' && (1..=hashes).all(|k| at(n + k) == '#');
            let close = (i + 2 + hashes..all.len()).find(|n| closes(*n)).unwrap_or(all.len());
            texts.push((begun, all[i + 2 + hashes..close].iter().collect()));
            code.push_str("\"\"");
            close + 1 + hashes
        } else if at(i) == '"' {
            let mut close = i + 1;
            while close < all.len() && at(close) != '"' {
                close += if at(close) == '\\' { 2 } else { 1 };
            }
            texts.push((begun, all[i + 1..close.min(all.len())].iter().collect()));
            code.push_str("\"\"");
            close + 1
        } else if at(i) == '\'' && (at(i + 1) == '\\' || at(i + 2) == '\'') {
            code.push_str("' '");
            (i + 3..all.len()).find(|n| at(n - 1) == '\'' && (at(i + 1) != '\\' || *n > i + 3)).unwrap_or(all.len())
        } else {
            code.push(at(i));
            i + 1
        };
        let end = end.min(all.len());
        let newlines = all[i..end].iter().filter(|c| **c == '\n').count();
        if end > i + 1 {
            code.extend(std::iter::repeat_n('\n', newlines));
        }
        line += newlines;
        i = end;
    }
    (code, texts)
}

/// Blanks what is compiled for tests only, and tells which lines those were.
fn blank_tests(code: &mut [String]) -> Vec<bool> {
    let mut is_test = vec![false; code.len()];
    let mut i = 0;
    while i < code.len() {
        if !code[i].trim_start().starts_with("#[cfg(test)]") {
            i += 1;
            continue;
        }
        let indent = code[i].len() - code[i].trim_start().len();
        let first = (i + 1..code.len()).find(|n| !code[*n].trim_start().starts_with("#[") && !code[*n].trim().is_empty()).unwrap_or(i);
        let closes = |line: &String| line.len() > indent && line[indent..].starts_with('}') && line[..indent].trim().is_empty();
        let last = if code[first].trim_end().ends_with([';', ',']) || code[first].trim_end().ends_with('}') {
            first
        } else {
            (first..code.len()).find(|n| closes(&code[*n])).unwrap_or(code.len() - 1)
        };
        for n in i..=last {
            code[n].clear();
            is_test[n] = true;
        }
        i = last + 1;
    }
    is_test
}

/// Where `word` stands in a line of code on its own, not as part of a longer word.
fn has_word(line: &str, word: &str) -> bool {
    let inner = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word)
        .any(|(at, _)| !line[..at].chars().next_back().is_some_and(inner) && !line[at + word.len()..].chars().next().is_some_and(inner))
}

fn impurities(source: &Source) -> Vec<Offence> {
    let mut found = Vec::new();
    for (n, line) in source.code.iter().enumerate() {
        for (word, why) in IMPURE.iter().filter(|(word, _)| has_word(line, word)) {
            found.push(source.offence(n + 1, format!("{word}: {why}")));
        }
    }
    found
}

/// The modules that a file names after `crate::`, also in `use crate::{…}`, with their lines.
fn imports(source: &Source) -> Vec<(usize, String)> {
    let code = source.code.join("\n");
    let is_root_of_module = source.file.ends_with("/mod.rs") && source.file.matches('/').count() == 2;
    let roots: &[&str] = if is_root_of_module { &["crate::", "super::"] } else { &["crate::", "super::super::"] };
    let mut found = Vec::new();
    for root in roots {
        for (at, _) in code.match_indices(root) {
            let line = |offset: usize| code[..offset].matches('\n').count() + 1;
            let inner = |c: char| c.is_alphanumeric() || c == '_';
            if code[..at].chars().next_back().is_some_and(|c| inner(c) || c == '$' || c == ':') {
                continue;
            }
            let name = |from: usize| code[from..].chars().take_while(|c| inner(*c)).collect::<String>();
            let after = at + root.len();
            if *root == "super::super::" && source.file.matches('/').count() == 2 {
                found.push((line(at), name(after)));
            } else if !code[after..].starts_with('{') {
                if *root != "super::super::" {
                    found.push((line(at), name(after)));
                }
            } else {
                let mut depth = 0;
                for (n, c) in code[after..].char_indices() {
                    depth += i32::from(c == '{') - i32::from(c == '}');
                    if depth == 1 && (c == '{' || c == ',') {
                        let from = after + n + 1;
                        let from = from + code[from..].find(|c: char| !c.is_whitespace()).unwrap_or(0);
                        found.extend(Some((line(from), name(from))).filter(|(_, name)| !name.is_empty()));
                    }
                    if depth == 0 {
                        break;
                    }
                }
            }
        }
    }
    found
}

fn layer(module: &str) -> Option<u8> {
    LAYERS.iter().find(|(name, _)| *name == module).map(|(_, layer)| *layer)
}

fn upward_imports(source: &Source) -> Vec<Offence> {
    let own = source.module();
    let allowed = |module: &str| module == own || layer(module).zip(layer(own)).is_some_and(|(theirs, ours)| theirs < ours);
    let wrong = imports(source).into_iter().filter(|(_, module)| !allowed(module));
    wrong.map(|(line, module)| source.offence(line, format!("{own} must not import from {module}"))).collect()
}

fn misplaced_labels(source: &Source) -> Vec<Offence> {
    let labels = source.texts.iter().filter(|(_, text)| text.contains("nightshift.dev/"));
    labels.map(|(line, text)| source.offence(*line, format!("{text:?}: labels are spelt in src/api/label.rs only"))).collect()
}

fn too_long(source: &Source) -> Vec<Offence> {
    let lines = source.lines_without_tests;
    let problem = (lines > LONGEST_FILE).then(|| format!("{lines} lines without tests; split it (at most {LONGEST_FILE})"));
    problem.into_iter().map(|problem| source.offence(1, problem)).collect()
}

fn drawers(source: &Source) -> Vec<Offence> {
    let is_drawer = |name: &str| DRAWERS.contains(&name);
    let told = |name: &str| format!("{name}: name it after what it holds");
    let in_path = source.file.split('/').map(|part| part.trim_end_matches(".rs")).filter(|name| is_drawer(name));
    let mut found: Vec<Offence> = in_path.map(|name| source.offence(1, told(name))).collect();
    for (n, line) in source.code.iter().enumerate() {
        let mut words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
        let declared = words.by_ref().find(|word| *word == "mod").and(words.next());
        found.extend(declared.filter(|name| is_drawer(name)).map(|name| source.offence(n + 1, told(name))));
    }
    found
}

/// What no rule of ours may grant. Comments do not count.
fn grants(file: &str, text: &str) -> Vec<Offence> {
    let mut in_comment = false;
    let mut found = Vec::new();
    for (n, line) in text.lines().enumerate() {
        in_comment |= line.contains("{{- /*") || line.contains("{{/*");
        let rule = if in_comment { "" } else { line.split('#').next().unwrap_or("") };
        in_comment &= !line.contains("*/");
        for granted in ["secrets", "configmaps", "pods/exec", "*", "escalate", "impersonate"] {
            let has = if granted == "*" { rule.contains('*') } else { has_word(rule, granted) };
            if has {
                found.push(Offence { file: file.to_owned(), line: n + 1, problem: format!("grants {granted}") });
            }
        }
    }
    found
}

fn assert_none(offences: &[Offence]) {
    let told: Vec<String> = offences.iter().map(Offence::to_string).collect();
    assert!(told.is_empty(), "{} offences:\n{}", told.len(), told.join("\n"));
}

fn in_all(check: fn(&Source) -> Vec<Offence>) -> Vec<Offence> {
    sources().iter().flat_map(check).collect()
}

#[test]
fn every_module_of_the_library_has_its_layer() {
    let library = Source::read(&root().join("src/lib.rs"));
    let declared: Vec<&str> = library.code.iter().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
    assert!(declared.len() > 10, "{declared:?}");
    for module in declared {
        assert!(layer(module).is_some(), "src/lib.rs: {module} stands in no layer of tests/architecture.rs");
    }
}

#[test]
fn the_pure_modules_have_no_effects() {
    assert!(PURE.iter().all(|module| sources().iter().any(|source| source.module() == *module)));
    assert_none(&sources().iter().filter(|source| source.is_pure()).flat_map(impurities).collect::<Vec<_>>());
}

#[test]
fn imports_point_one_way() {
    let all: usize = sources().iter().map(|source| imports(source).len()).sum();
    assert!(all > 40, "only {all} imports were found");
    let but_the_root: Vec<Offence> = sources().iter().filter(|source| source.file != "src/lib.rs").flat_map(upward_imports).collect();
    assert_none(&but_the_root);
}

#[test]
fn labels_are_spelt_once() {
    assert!(misplaced_labels(&Source::read(&root().join("src/api/label.rs"))).len() > 8);
    let others: Vec<Source> = sources().into_iter().filter(|source| source.file != "src/api/label.rs").collect();
    assert_none(&others.iter().flat_map(misplaced_labels).collect::<Vec<_>>());
}

#[test]
fn files_are_short() {
    assert_none(&in_all(too_long));
}

#[test]
fn no_file_or_module_is_a_drawer_for_odds_and_ends() {
    assert_none(&in_all(drawers));
    assert_none(&files("tests", ".rs").iter().flat_map(|path| drawers(&Source::read(path))).collect::<Vec<_>>());
}

#[test]
fn the_operator_may_not_touch_secrets() {
    let file = "charts/nightshift/templates/_rules.tpl";
    let text = fs::read_to_string(root().join(file)).unwrap();
    assert!(text.matches("- apiGroups:").count() > 5, "{file} has hardly any rules");
    assert_none(&grants(file, &text));
}

#[test]
fn the_checks_find_what_is_planted() {
    let planted = |check: fn(&Source) -> Vec<Offence>, file: &str, text: &str| -> Vec<String> {
        check(&Source::parse(file, text)).iter().map(Offence::to_string).collect()
    };
    let pure = "//! No tokio here.\nuse kube::{Api, Client};\nfn a() { let _ = \"async\"; }\nasync fn b() { c().await }\nfn d() -> jiff::Timestamp { jiff::Timestamp::now() }\n";
    assert_eq!(
        planted(impurities, "src/plan/x.rs", pure),
        [
            "src/plan/x.rs:2: Client: pure code has no client",
            "src/plan/x.rs:2: Api: pure code has no client",
            "src/plan/x.rs:4: async: pure code waits for nothing",
            "src/plan/x.rs:4: await: pure code waits for nothing",
            "src/plan/x.rs:5: Timestamp::now: pure code is told the time",
        ]
    );
    for word in ["tokio::spawn(x)", "tracing::info!()", "println!()", "kube::runtime::watcher", "rand::random()", "Instant::now()"] {
        assert_eq!(planted(impurities, "src/retry/mod.rs", &format!("fn a() {{\n    {word};\n}}\n")).len(), 1, "{word}");
    }
    let upward = "use crate::{\n    api::{Attempt, label},\n    plan::Change,\n};\nfn a() { crate::observe::start() }\n";
    assert_eq!(
        planted(upward_imports, "src/build/x.rs", upward),
        ["src/build/x.rs:3: build must not import from plan", "src/build/x.rs:5: build must not import from observe",]
    );
    assert_eq!(planted(upward_imports, "src/retry/mod.rs", "use super::outcome;").len(), 1, "a sibling, through the root");
    assert_eq!(planted(upward_imports, "src/retry/deep.rs", "use super::super::outcome::X;").len(), 1);
    assert_eq!(planted(upward_imports, "src/observe/x.rs", "use crate::controller::Context;").len(), 1);
    assert_eq!(planted(upward_imports, "src/api/x.rs", "use crate::testing::World;").len(), 1, "a module without a layer");
    assert!(planted(upward_imports, "src/build/x.rs", "use crate::{outcome::JobSeen, schedule::CronLine};\nuse super::labels;").is_empty());

    let labels = "// nightshift.dev/comment\nconst A: &str = \"nightshift.dev/a\";\nconst B: &str = r#\"say \"nightshift.dev/b\"\"#;\n";
    assert_eq!(planted(misplaced_labels, "src/build/x.rs", labels).len(), 2);

    let long = "fn a() {}\n".repeat(401);
    assert_eq!(planted(too_long, "src/plan/x.rs", &long).len(), 1);
    let mostly_tests = format!("fn a() {{}}\n\n#[cfg(test)]\n#[expect(x)]\nmod tests {{\n{}}}\n", "    fn a() {}\n".repeat(500));
    assert!(planted(too_long, "src/plan/x.rs", &mostly_tests).is_empty());

    assert_eq!(planted(drawers, "src/plan/helpers.rs", "pub mod utils;\n").len(), 2);
    let granted = grants("x.tpl", "{{- /*\nsecrets *\n*/}}\n# secrets\n- resources: [secrets]\n  verbs: [\"*\"]\n");
    let granted: Vec<String> = granted.iter().map(Offence::to_string).collect();
    assert_eq!(granted, ["x.tpl:5: grants secrets", "x.tpl:6: grants *"]);
}

#[test]
fn tests_may_do_what_the_code_may_not_and_what_follows_them_may_not() {
    let text = "#[cfg(test)]\nmod tests;\nasync fn a() {}\n#[cfg(test)]\nmod more {\n    async fn b() { '}'; '\\''; \"}\"; }\n}\nasync fn c<'a>() {}\n";
    let found: Vec<usize> = impurities(&Source::parse("src/plan/x.rs", text)).iter().map(|offence| offence.line).collect();
    assert_eq!(found, [3, 8]);
}
