//! A Rust file as the rules see it: code, comments and literals told apart, then cut into tokens.
//!
//! Not a parser. It knows strings (raw ones too), chars, lifetimes and nested comments, which is
//! what it takes to count braces and to find a word in code and not in a text about it.

use std::iter;

/// A file, with what the rules ask about it.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) path: String,
    /// The text as it is.
    pub(super) text: String,
    /// Code alone: comments and literals are blanks.
    pub(super) code: String,
    /// Code and literals: comments are blanks.
    pub(super) uncommented: String,
    /// Comments alone.
    pub(super) comments: String,
    /// The first line of the inline test module, or the first one after the file.
    pub(super) tests_from: usize,
}

/// A word or a single sign, and the line it is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token<'a> {
    pub(super) text: &'a str,
    pub(super) line: usize,
}

/// A function with a body. Its lines are counted from `fn` to the closing brace.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Function<'a> {
    pub(super) name: &'a str,
    pub(super) line: usize,
    pub(super) n_lines: usize,
}

impl Source {
    pub(super) fn new(path: &str, text: &str) -> Self {
        let parts = Lexer::parts(text);
        let keep = |kept: &[Part]| -> String {
            let blank = |(c, part)| match c {
                '\n' => c,
                _ if kept.contains(part) => c,
                _ => ' ',
            };
            text.chars().zip(&parts).map(blank).collect()
        };
        let code = keep(&[Part::Code]);
        let after = text.lines().count().saturating_add(1);
        Self {
            path: path.to_owned(),
            text: text.to_owned(),
            uncommented: keep(&[Part::Code, Part::Literal]),
            comments: keep(&[Part::Comment]),
            tests_from: inline_tests(&tokens(&code)).unwrap_or(after),
            code,
        }
    }

    /// A file that holds nothing but tests.
    pub(super) fn is_test(&self) -> bool {
        self.path.split('/').any(|name| matches!(name, "tests" | "tests.rs"))
    }

    /// Whether a line is part of the product and not of its tests.
    pub(super) fn is_product(&self, line: usize) -> bool {
        !self.is_test() && line < self.tests_from
    }
}

/// Cuts a text into words (letters, digits, `_`) and single other signs.
pub(super) fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    for (line, mut rest) in (1..).zip(text.lines()) {
        while let Some(first) = rest.chars().next() {
            let end = if is_word(first) {
                rest.find(|c| !is_word(c)).unwrap_or(rest.len())
            } else {
                first.len_utf8()
            };
            let (token, after) = rest.split_at(end);
            if !first.is_whitespace() {
                tokens.push(Token { text: token, line });
            }
            rest = after;
        }
    }
    tokens
}

/// The lines on which a sequence of tokens begins.
pub(super) fn find(tokens: &[Token<'_>], pattern: &[&str]) -> Vec<usize> {
    let matches =
        |window: &&[Token<'_>]| window.iter().map(|token| token.text).eq(pattern.iter().copied());
    tokens
        .windows(pattern.len())
        .filter(matches)
        .filter_map(|window| Some(window.first()?.line))
        .collect()
}

/// Every function in a file's code, inner ones too.
///
/// A block inside a signature (`-> Array<{ N }>`) would be taken for the body; we write none.
pub(super) fn functions<'a>(tokens: &[Token<'a>]) -> Vec<Function<'a>> {
    let starts = tokens.iter().enumerate().filter(|(_, token)| token.text == "fn");
    starts.filter_map(|(at, _)| function(tokens.get(at..)?)).collect()
}

/// The function whose `fn` is the first token; none for a pointer type or a method without body.
fn function<'a>(tokens: &[Token<'a>]) -> Option<Function<'a>> {
    let start = tokens.first()?;
    let name = tokens.iter().skip(1).find(|token| token.text != "$")?;
    if !name.text.starts_with(is_word) {
        return None;
    }
    let mut nested = 0_usize;
    for (at, token) in tokens.iter().enumerate() {
        match token.text {
            "(" | "[" => nested = nested.saturating_add(1),
            ")" | "]" => nested = nested.saturating_sub(1),
            ";" if nested == 0 => return None,
            "{" if nested == 0 => {
                let body = tokens.get(at..)?;
                let end = body.get(closing(body, "{", "}")?)?;
                let n_lines = end.line.saturating_sub(start.line).saturating_add(1);
                return Some(Function { name: name.text, line: start.line, n_lines });
            }
            _ => {}
        }
    }
    None
}

/// Where the token is that closes what the first one opens.
fn closing(tokens: &[Token<'_>], open: &str, close: &str) -> Option<usize> {
    let mut depth = 0_usize;
    tokens.iter().position(|token| {
        if token.text == open {
            depth = depth.saturating_add(1);
        } else if token.text == close {
            depth = depth.saturating_sub(1);
        }
        depth == 0
    })
}

/// The line where an inline test module starts. `mod tests;` ends nothing: code may follow it.
fn inline_tests(all: &[Token<'_>]) -> Option<usize> {
    let attribute = ["#", "[", "cfg", "(", "test", ")", "]"];
    let starts = all.windows(attribute.len()).enumerate();
    let starts = starts.filter(|(_, window)| window.iter().map(|token| token.text).eq(attribute));
    starts
        .filter_map(|(at, _)| all.get(at..))
        .find(|rest| opens_module(rest))
        .and_then(|rest| Some(rest.first()?.line))
}

/// Whether what follows the attributes is `mod NAME {`.
fn opens_module(mut rest: &[Token<'_>]) -> bool {
    while let [Token { text: "#", .. }, bracketed @ ..] = rest {
        let end = closing(bracketed, "[", "]").unwrap_or(bracketed.len());
        rest = bracketed.get(end.saturating_add(1)..).unwrap_or_default();
    }
    matches!(rest, [Token { text: "mod", .. }, _, Token { text: "{", .. }, ..])
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Code,
    Comment,
    Literal,
}

/// Says of each char which part of the file it belongs to.
struct Lexer {
    chars: Vec<char>,
    parts: Vec<Part>,
}

impl Lexer {
    fn parts(text: &str) -> Vec<Part> {
        let mut lexer = Self { chars: text.chars().collect(), parts: Vec::new() };
        while let Some(c) = lexer.peek(0) {
            match (c, lexer.peek(1)) {
                ('/', Some('/')) => lexer.line_comment(),
                ('/', Some('*')) => lexer.block_comment(),
                ('"', _) => lexer.string(),
                ('\'', _) => lexer.quote(),
                _ if is_word(c) => lexer.word(),
                _ => lexer.take(1, Part::Code),
            }
        }
        lexer.parts
    }

    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.parts.len().saturating_add(ahead)).copied()
    }

    fn take(&mut self, n: usize, part: Part) {
        let left = self.chars.len().saturating_sub(self.parts.len());
        self.parts.extend(iter::repeat_n(part, n.min(left)));
    }

    /// How many of the next chars pass a test.
    fn run_of(&self, from: usize, test: impl Fn(char) -> bool) -> usize {
        let rest = self.chars.iter().skip(self.parts.len().saturating_add(from));
        rest.take_while(|c| test(**c)).count()
    }

    fn line_comment(&mut self) {
        self.take(self.run_of(0, |c| c != '\n'), Part::Comment);
    }

    fn block_comment(&mut self) {
        let mut depth = 0_usize;
        loop {
            match (self.peek(0), self.peek(1)) {
                (Some('/'), Some('*')) => depth = depth.saturating_add(1),
                (Some('*'), Some('/')) => depth = depth.saturating_sub(1),
                (Some(_), _) => {
                    self.take(1, Part::Comment);
                    continue;
                }
                (None, _) => return,
            }
            self.take(2, Part::Comment);
            if depth == 0 {
                return;
            }
        }
    }

    fn string(&mut self) {
        self.take(1, Part::Literal);
        while let Some(c) = self.peek(0) {
            self.take(if c == '\\' { 2 } else { 1 }, Part::Literal);
            if c == '"' {
                return;
            }
        }
    }

    /// A char literal or the tick of a lifetime.
    fn quote(&mut self) {
        match (self.peek(1), self.peek(2)) {
            (Some('\\'), _) => {
                self.take(3, Part::Literal);
                self.take(self.run_of(0, |c| c != '\'').saturating_add(1), Part::Literal);
            }
            (_, Some('\'')) => self.take(3, Part::Literal),
            _ => self.take(1, Part::Code),
        }
    }

    /// A word, or a raw string where the word is its prefix.
    fn word(&mut self) {
        let n_chars = self.run_of(0, is_word);
        let word: String = self.chars.iter().skip(self.parts.len()).take(n_chars).collect();
        let n_hashes = self.run_of(n_chars, |c| c == '#');
        self.take(n_chars, Part::Code);
        if matches!(&*word, "r" | "br" | "cr") && self.peek(n_hashes) == Some('"') {
            self.raw_string(n_hashes);
        }
    }

    fn raw_string(&mut self, n_hashes: usize) {
        self.take(n_hashes.saturating_add(1), Part::Literal);
        while let Some(c) = self.peek(0) {
            self.take(1, Part::Literal);
            if c == '"' && self.run_of(0, |c| c == '#') >= n_hashes {
                self.take(n_hashes, Part::Literal);
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests;
