//! The source as the compiler reads it: what each file names, literals and all, with its tests left out.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "shared with the demo and the benchmark, each of which uses a part"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use syn::visit::{self, Visit};
use syn::{Attribute, Expr, ExprLit, ExprMethodCall, Item, ItemUse, Lit, LitStr, Macro, UseTree};

/// What one file names.
#[derive(Default)]
pub struct Source {
    /// The file's own path as a module: `["state", "session"]`.
    pub module: Vec<String>,
    /// Whole paths: those of ours begin with `crate`, all others with the name of a crate.
    pub names: BTreeSet<Vec<String>>,
    /// By name, with what it is called with.
    pub macros: Vec<(String, String)>,
    /// Method calls whose first argument is a text.
    pub said_to_methods: BTreeSet<String>,
    /// Texts, but for those in macros.
    pub texts: Vec<String>,
    /// Constants, with their values as expressions.
    pub constants: BTreeMap<String, Expr>,
    /// What `use` calls each of its paths in this file.
    aliases: BTreeMap<String, Vec<String>>,
    /// Paths as they are written.
    written: BTreeSet<Vec<String>>,
}

/// Every file under src, by its path there.
pub fn sources() -> BTreeMap<String, Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![root.clone()];
    let mut all = BTreeMap::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let name = path.strip_prefix(&root).expect("inside").to_string_lossy().into_owned();
                let text = std::fs::read_to_string(&path).expect("a file");
                let source = read(&name, &text).unwrap_or_else(|error| panic!("src/{name}: {error}"));
                all.insert(name, source);
            }
        }
    }
    all
}

fn read(name: &str, text: &str) -> syn::Result<Source> {
    let module = name.trim_end_matches(".rs").split('/').map(str::to_owned);
    let module = module.filter(|part| !["lib", "main"].contains(&part.as_str())).collect();
    let mut source = Source { module, ..Source::default() };
    source.visit_file(&syn::parse_file(text)?);
    let written = std::mem::take(&mut source.written);
    source.names = written.iter().map(|path| source.whole(path)).collect();
    Ok(source)
}

impl Source {
    /// A path from the crate's root, or from that of another crate.
    fn whole(&self, path: &[String]) -> Vec<String> {
        let ours = |module: &[String], rest: &[String]| {
            std::iter::once("crate".to_owned())
                .chain(module.iter().cloned())
                .chain(rest.iter().cloned())
                .collect()
        };
        let Some((first, rest)) = path.split_first() else { return Vec::new() };
        match first.as_str() {
            "crate" => path.to_vec(),
            "self" => ours(&self.module, rest),
            "super" => {
                let ups = path.iter().take_while(|part| *part == "super").count();
                ours(&self.module[..self.module.len().saturating_sub(ups)], &path[ups..])
            }
            // What a `use` of this file calls so; a path that is called as it begins is whole already.
            name => match self.aliases.get(name) {
                Some(known) if known.first() != Some(first) => self.whole(&[known.as_slice(), rest].concat()),
                _ => path.to_vec(),
            },
        }
    }

    fn import(&mut self, before: &[String], tree: &UseTree) {
        let with = |name: &syn::Ident| [before, &[name.to_string()]].concat();
        let (path, alias) = match tree {
            UseTree::Path(path) => return self.import(&with(&path.ident), &path.tree),
            UseTree::Group(group) => return group.items.iter().for_each(|tree| self.import(before, tree)),
            UseTree::Glob(_) => (before.to_vec(), None),
            UseTree::Name(name) if name.ident == "self" => (before.to_vec(), before.last().cloned()),
            UseTree::Name(name) => (with(&name.ident), Some(name.ident.to_string())),
            UseTree::Rename(rename) => (with(&rename.ident), Some(rename.rename.to_string())),
        };
        if let Some(alias) = alias {
            self.aliases.insert(alias, path.clone());
        }
        self.written.insert(path);
    }
}

/// The texts in what a macro is called with.
pub fn texts(said: &str) -> Vec<String> {
    let mut texts = Vec::new();
    let mut chars = said.chars();
    while chars.by_ref().any(|char| char == '"') {
        let mut text = String::new();
        while let Some(char) = chars.next().filter(|char| *char != '"') {
            text.push(if char == '\\' { chars.next().unwrap_or(char) } else { char });
        }
        texts.push(text);
    }
    texts
}

/// The value of a constant, as people may write it: `90 s` or `1 min 30 s`, `2,048`, `64 KiB`. Of a list and of a policy
/// for trying again, how many there are. `None` if it is none of these.
pub fn value(constant: &Expr) -> Option<Vec<String>> {
    match constant {
        Expr::Call(call) => {
            let Expr::Path(function) = &*call.func else { return None };
            let unit = function.path.segments.last()?.ident.to_string();
            let count = whole(call.args.first()?)?;
            let millis = count
                * match unit.as_str() {
                    "from_millis" => 1,
                    "from_secs" => 1_000,
                    "from_mins" => 60_000,
                    "from_hours" => 3_600_000,
                    _ => return None,
                };
            let units = [(1, "ms"), (1_000, "s"), (60_000, "min"), (3_600_000, "h"), (86_400_000, "days")];
            let fits = units.iter().filter(|(unit, _)| millis % unit == 0);
            Some(fits.map(|(unit, name)| format!("{} {name}", grouped(millis / unit))).collect())
        }
        Expr::Struct(policy) => {
            let field = policy
                .fields
                .iter()
                .find(|field| matches!(&field.member, syn::Member::Named(name) if name == "max_attempts"))?;
            Some(vec![format!("{} tries", whole(&field.expr)?)])
        }
        Expr::Array(list) => Some(vec![grouped(list.elems.len() as u64)]),
        other => {
            let count = whole(other)?;
            let mut all = vec![grouped(count)];
            for (unit, name) in [(1 << 10, "KiB"), (1 << 20, "MiB")] {
                if count % unit == 0 {
                    all.push(format!("{} {name}", count / unit));
                }
            }
            Some(all)
        }
    }
}

fn whole(expression: &Expr) -> Option<u64> {
    match expression {
        Expr::Lit(ExprLit { lit: Lit::Int(number), .. }) => number.base10_parse().ok(),
        Expr::Binary(product) if matches!(product.op, syn::BinOp::Mul(_)) => {
            Some(whole(&product.left)? * whole(&product.right)?)
        }
        _ => None,
    }
}

/// `16,384`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let first = digits.len() % 3;
    let groups = digits.as_bytes()[first..].chunks(3).map(|group| String::from_utf8_lossy(group));
    let first = (first > 0).then(|| digits[..first].into());
    first.into_iter().chain(groups).collect::<Vec<_>>().join(",")
}

fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let is_cfg = attribute.path().is_ident("cfg");
        is_cfg && attribute.parse_args::<syn::Path>().is_ok_and(|what| what.is_ident("test"))
    })
}

impl<'ast> Visit<'ast> for Source {
    fn visit_item(&mut self, item: &'ast Item) {
        let attributes = match item {
            Item::Mod(item) => &item.attrs,
            Item::Fn(item) => &item.attrs,
            Item::Use(item) => &item.attrs,
            Item::Impl(item) => &item.attrs,
            _ => &Vec::new(),
        };
        if !is_for_tests(attributes) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.import(&[], &item.tree);
    }

    fn visit_impl_item_const(&mut self, item: &'ast syn::ImplItemConst) {
        self.constants.insert(item.ident.to_string(), item.expr.clone());
        visit::visit_impl_item_const(self, item);
    }

    fn visit_item_const(&mut self, item: &'ast syn::ItemConst) {
        self.constants.insert(item.ident.to_string(), (*item.expr).clone());
        visit::visit_item_const(self, item);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.written.insert(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        visit::visit_path(self, path);
    }

    /// What stands in a macro is no syntax tree: its paths are found by their colons.
    fn visit_macro(&mut self, macro_call: &'ast Macro) {
        let name =
            macro_call.path.segments.iter().map(|segment| segment.ident.to_string()).collect::<Vec<_>>();
        let said = macro_call.tokens.to_string();
        let mut path: Vec<String> = Vec::new();
        let words: Vec<_> = said.replace("::", " :: ").split_whitespace().map(str::to_owned).collect();
        // A word more, so that the last of them is looked at too.
        let words = words.iter().map(String::as_str).chain([""]).collect::<Vec<_>>();
        for pair in words.windows(2) {
            match (pair[0], pair[1]) {
                (first, "::") if first != "::" => path.push(first.to_owned()),
                ("::", _) => {}
                (last, _) if !path.is_empty() => {
                    path.push(last.to_owned());
                    self.written.insert(std::mem::take(&mut path));
                }
                _ => {}
            }
        }
        self.macros.push((name.join("::"), said));
        visit::visit_macro(self, macro_call);
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        // A comment on an item is an attribute, and its text is none of the program's.
        if !attribute.path().is_ident("doc") {
            visit::visit_attribute(self, attribute);
        }
    }

    fn visit_expr_method_call(&mut self, call: &'ast ExprMethodCall) {
        if let Some(Expr::Lit(ExprLit { lit: Lit::Str(_), .. })) = call.args.first() {
            self.said_to_methods.insert(call.method.to_string());
        }
        visit::visit_expr_method_call(self, call);
    }

    fn visit_lit_str(&mut self, text: &'ast LitStr) {
        self.texts.push(text.value());
    }
}
