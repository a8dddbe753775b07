//! What an expression names.

use cel::{
    IdedExpr,
    common::ast::{Expr, LiteralValue, operators},
};

use super::Expression;

/// A name and the members that are taken of it by name: `steps.fetch.outputs.rows` and `steps['fetch'].outputs.rows` are
/// `["steps", "fetch", "outputs", "rows"]`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Use {
    /// The parts, the variable's name first.
    pub path: Vec<String>,
    /// Whether a member is taken after these by something else than a name: `steps[item]`.
    pub computed: bool,
}

/// Everything that the expression names, in order and without repetition. To be called [`super::with_room`].
#[must_use]
pub fn uses(expression: &Expression) -> Vec<Use> {
    let mut all = Vec::new();
    walk(&expression.parsed, &mut all);
    all.sort();
    all.dedup();
    all
}

fn walk(expression: &IdedExpr, all: &mut Vec<Use>) {
    if let Some(found) = path(expression, all) {
        all.push(found);
        return;
    }
    match &expression.expr {
        Expr::Call(call) => call.target.iter().map(|target| &**target).chain(&call.args).for_each(|part| walk(part, all)),
        Expr::Select(select) => walk(&select.operand, all),
        Expr::List(list) => list.elements.iter().for_each(|element| walk(element, all)),
        Expr::Map(map) => entries(&map.entries, all),
        Expr::Struct(made) => entries(&made.entries, all),
        // Made by macros only, which are not there.
        Expr::Comprehension(_) | Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => {}
    }
}

fn entries(entries: &[cel::common::ast::IdedEntryExpr], all: &mut Vec<Use>) {
    use cel::common::ast::EntryExpr;
    for entry in entries {
        match &entry.expr {
            EntryExpr::StructField(field) => walk(&field.value, all),
            EntryExpr::MapEntry(entry) => {
                walk(&entry.key, all);
                walk(&entry.value, all);
            }
        }
    }
}

/// The path that the expression is, where it is one. What is used within brackets is added to `all`.
fn path(expression: &IdedExpr, all: &mut Vec<Use>) -> Option<Use> {
    match &expression.expr {
        Expr::Ident(name) => Some(Use { path: vec![name.clone()], computed: false }),
        Expr::Select(select) => {
            let mut found = path(&select.operand, all)?;
            if !found.computed {
                found.path.push(select.field.clone());
            }
            Some(found)
        }
        Expr::Call(call) if call.func_name == operators::INDEX => {
            let [of, by] = call.args.as_slice() else { return None };
            let mut found = path(of, all)?;
            match &by.expr {
                Expr::Literal(LiteralValue::String(name)) if !found.computed => found.path.push(name.inner().to_owned()),
                _ => {
                    found.computed = true;
                    walk(by, all);
                }
            }
            Some(found)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(text: &str) -> Vec<String> {
        let found = super::super::with_room(|| Ok(uses(&Expression::parse(text, "x")?))).unwrap();
        found.into_iter().map(|one| one.path.join(".") + if one.computed { "[]" } else { "" }).collect()
    }

    #[test]
    fn members_are_found_by_dot_and_by_bracket_wherever_they_stand() {
        for (text, names) in [
            ("1 + 2", &[][..]),
            ("parameters.DAY", &["parameters.DAY"]),
            (
                "steps.fetch.outputs.rows > 0 && steps['clean-up'].outcome == 'Failed'",
                &["steps.clean-up.outcome", "steps.fetch.outputs.rows"],
            ),
            ("size(steps.fetch.results) + index", &["index", "steps.fetch.results"]),
            ("[item.a, {'b': item.c}]", &["item.a", "item.c"]),
            ("steps[item].outcome", &["item", "steps[]"]),
            ("steps.fetch.outputs.files[0].name", &["steps.fetch.outputs.files[]"]),
            ("parameters.A.startsWith(parameters.B) ? item : item", &["item", "parameters.A", "parameters.B"]),
            ("(steps.a.outcome == 'Succeeded' ? steps.a : steps.b).outcome", &["steps.a", "steps.a.outcome", "steps.b"]),
        ] {
            assert_eq!(named(text), names, "{text}");
        }
    }
}
