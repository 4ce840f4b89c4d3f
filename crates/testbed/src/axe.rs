//! axe-core: a script that looks for what is wrong with a page for those who do not see it, see it badly,
//! or have no mouse. It runs in the page, and nothing of it is shown.

use std::{fs, path::PathBuf};

use crate::tools;

/// What it is called where it is installed.
pub const NAME: &str = "axe-core 4.12.1";

/// Where it is.
#[must_use]
pub fn script() -> PathBuf {
    tools::folder().join("axe-core-4.12.1.min.js")
}

/// Whether `cargo xtask test` has installed it.
#[must_use]
pub fn is_installed() -> bool {
    script().is_file()
}

/// Defines `axe` in a page.
///
/// # Panics
///
/// If it is not installed.
#[track_caller]
pub(crate) fn source() -> String {
    let script = script();
    fs::read_to_string(&script).unwrap_or_else(|error| {
        panic!("{error}: {}: run `cargo xtask test`, which installs it", script.display())
    })
}

/// What it finds in the page as it is shown, with what else can be told by a script: a page that is wider
/// than its window, and a control whose focus is not seen.
pub(crate) const FAULTS: &str = r#"
const root = document.documentElement;
const wide = root.scrollWidth > root.clientWidth ? ['wider than the window'] : [];
const channels = text => text.match(/[\d.]+/g).map(Number);
const light = text => channels(text).slice(0, 3)
  .map(c => c / 255).map(c => c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4)
  .reduce((sum, c, i) => sum + c * [.2126, .7152, .0722][i], 0);
const ground = element => {
  const color = getComputedStyle(element).backgroundColor;
  return channels(color)[3] !== 0 || !element.parentElement ? color : ground(element.parentElement);
};
const contrast = (a, b) => (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
const focus = [...document.querySelectorAll('a, button, input:not([type=hidden]), select, textarea, summary, [tabindex="0"]')]
  .filter(element => element.checkVisibility() && !element.disabled && !element.closest('.hidden, .skip'))
  .filter(element => {
    element.focus({focusVisible: true});
    const outline = getComputedStyle(element);
    return outline.outlineStyle !== 'solid'
      || contrast(light(outline.outlineColor), light(ground(element.parentElement))) < 3;
  })
  .map(element => `the focus is not seen: ${element.outerHTML}`);
document.activeElement?.blur();
// 24 by 24 pixels of each target are a rule of WCAG 2.2 that is off by itself.
return axe.run({resultTypes: ['violations'], rules: {'target-size': {enabled: true}}}).then(({violations}) => [
  ...wide,
  ...focus,
  ...violations.flatMap(({id, impact, nodes}) =>
    nodes.map(({html, failureSummary}) => `${id} (${impact}): ${html} ${failureSummary}`)),
]);
"#;
