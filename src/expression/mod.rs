//! CEL expressions as users may write them: parsed within limits, evaluated with room, and never able to end the process.
//!
//! CEL's macros (`map`, `filter`, `all`, …) are left out: without them nothing repeats or names a part of itself, and an
//! expression costs what its length is.

mod names;
mod time;
mod value;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, LazyLock},
    thread,
};

use cel::{Context, Env, ExecutionError, IdedExpr, Value};
use jiff::tz::TimeZone;

pub use names::{Use, uses};
pub use time::in_zone;
pub use value::{from_json, text};
pub(crate) use value::{kind, map};

/// Longest expression, in characters, as in the CRDs.
const LONGEST: usize = 1024;
/// Parser and evaluation go down into an expression, and each level takes its part of the stack: in a debug build 0.2 MiB
/// for a bracket and 0.04 MiB for an operator, which the 2 MiB of an ordinary thread would not bear. No date needs more.
pub(crate) const DEEPEST: usize = 16;
pub(crate) const MOST_OPERATORS: usize = 128;
/// Bytes of stack that are enough for any expression within these limits, several times over.
const STACK: usize = 64 << 20;
/// The parser's own limit of levels, for brackets that a text within an expression hides from the count above.
const MOST_LEVELS: u16 = 96;
/// Longest message of the engine that is told, in characters: it prints the values that it stumbles over.
const LONGEST_MESSAGE: usize = 400;

static ENV: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(Env::default().with_optional_support(false).with_stdlib()));

/// An expression that parses.
#[derive(Clone, Debug)]
pub struct Expression {
    parsed: IdedExpr,
}

/// Does some work with expressions on a stack that is large enough for it, and waits for it. Should the work panic, that is
/// told as well: nothing that users write may end the operator.
///
/// # Errors
/// Those of the work, and where it cannot be done.
pub fn with_room<T: Send>(work: impl FnOnce() -> Result<T, String> + Send) -> Result<T, String> {
    thread::scope(|scope| {
        let begun = thread::Builder::new().name("expression".to_owned()).stack_size(STACK).spawn_scoped(scope, work);
        let ended = begun.map_err(|error| format!("cannot be worked out now: {error}"))?.join();
        ended.unwrap_or_else(|_| Err(PANICKED.to_owned()))
    })
}

const PANICKED: &str = "cannot be worked out: write it in another way";

/// A context that knows CEL's standard functions and `format(time, letters)`, which goes by the zone.
///
/// # Errors
/// Where the engine refuses the function.
pub fn context<'a>(zone: &TimeZone) -> Result<Context<'a, 'a>, String> {
    let mut context = Context::with_env(Arc::clone(&ENV));
    context.add_function("format", time::formatter(zone.clone())).map_err(|error| error.to_string())?;
    Ok(context)
}

impl Expression {
    /// Parses a text. To be called [`with_room`].
    ///
    /// # Errors
    /// Tells what is wrong, with `example` as what would be right.
    pub fn parse(text: &str, example: &str) -> Result<Self, String> {
        let length = text.chars().count();
        if length > LONGEST {
            return Err(format!("has {length} characters; at most {LONGEST} are allowed"));
        }
        let (mut depth, mut deepest, mut operators) = (0usize, 0, 0);
        for letter in text.chars() {
            match letter {
                '(' | '[' | '{' => depth += 1,
                ')' | ']' | '}' => depth = depth.saturating_sub(1),
                // Also where they stand in a text: what is counted too high is refused, what is counted too low is a crash.
                '+' | '-' | '*' | '/' | '%' | '!' | '<' | '>' | '=' | '&' | '|' | '?' | ':' | '.' => operators += 1,
                _ => {}
            }
            deepest = deepest.max(depth);
        }
        if deepest > DEEPEST {
            return Err(format!("has {deepest} brackets within one another; at most {DEEPEST} are allowed"));
        }
        if operators > MOST_OPERATORS {
            return Err(format!("has {operators} operators and signs; at most {MOST_OPERATORS} are allowed"));
        }
        let parsed = ENV.parser().max_recursion_depth(MOST_LEVELS).error_recovery_limit(1).parse(text).map_err(|errors| {
            let told = errors.errors.first().map(|error| format!(" at character {}: {}", error.pos.1, error.msg.trim()));
            format!("is not a CEL expression{}; an example is {example}", told.unwrap_or_default())
        })?;
        Ok(Self { parsed })
    }

    /// Returns its value. To be called [`with_room`]. `known` says what can be named, for whoever named something else.
    ///
    /// # Errors
    /// Tells what is wrong with it, a panic of the engine included: others that are worked out beside it are not its victims.
    pub fn evaluate(&self, context: &Context<'_, '_>, known: &str) -> Result<Value, Unresolved> {
        let resolved = catch_unwind(AssertUnwindSafe(|| context.resolve(&self.parsed)));
        let resolved = resolved.map_err(|_| Unresolved::other(PANICKED))?;
        resolved.map_err(|error| Unresolved {
            message: match error {
                ExecutionError::UndeclaredReference(_) => format!("{}; {known}", cut(&error.to_string())),
                ref error => cut(&error.to_string()),
            },
            of_kind: !matches!(
                error,
                ExecutionError::NoSuchKey(_)
                    | ExecutionError::FunctionError { .. }
                    | ExecutionError::DivisionByZero(_)
                    | ExecutionError::RemainderByZero(_)
                    | ExecutionError::Overflow(..)
                    | ExecutionError::IndexOutOfBounds(_)
                    | ExecutionError::DuplicateKey(_)
                    | ExecutionError::InternalError(_)
            ),
        })
    }
}

fn cut(message: &str) -> String {
    match message.char_indices().nth(LONGEST_MESSAGE) {
        Some((end, _)) => format!("{} …", &message[..end]),
        None => message.to_owned(),
    }
}

/// Why an expression has no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unresolved {
    /// What is wrong.
    pub message: String,
    /// Whether no other values of the same kinds would help: it adds a number to a text, or calls what is not there.
    pub of_kind: bool,
}

impl Unresolved {
    /// Something that other values may not have.
    pub fn other(message: impl Into<String>) -> Self {
        Self { message: message.into(), of_kind: false }
    }

    /// Something that comes of the kinds of the values.
    pub fn of_kind(message: impl Into<String>) -> Self {
        Self { message: message.into(), of_kind: true }
    }

    /// The same, with the field that it is in.
    #[must_use]
    pub fn within(self, field: &str) -> Self {
        Self { message: format!("{field}: {}", self.message), ..self }
    }
}
