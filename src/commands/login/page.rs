//! The pages that the browser shows at the end of a login. They contain no scripts and load nothing.

use crate::base::error::clean;
use crate::system::loopback::LocalResponse;

const STYLE: &str = "\
:root{color-scheme:light dark;--ground:#f6f7f9;--card:#fff;--text:#1c2026;--quiet:#5c6572;--line:#e1e5ea;--mark:#12824c}\
.no{--mark:#b3261e}\
@media(prefers-color-scheme:dark){:root{--ground:#14171b;--card:#1d2127;--text:#e8ebef;--quiet:#9aa4b1;--line:#2d333b;--mark:#4cc38a}.no{--mark:#f2786d}}\
*{box-sizing:border-box}\
body{margin:0;min-height:100vh;display:grid;place-items:center;padding:1.5rem;background:var(--ground);color:var(--text);\
font:1rem/1.5 system-ui,sans-serif}\
main{width:100%;max-width:30rem;padding:2.25rem;background:var(--card);border:1px solid var(--line);border-radius:12px}\
svg{display:block;width:44px;height:44px;color:var(--mark)}\
h1{margin:1.1rem 0 .35rem;font-size:1.4rem;line-height:1.3;font-weight:600}\
p{margin:.35rem 0 0;color:var(--quiet);overflow-wrap:anywhere}\
p.why{margin-top:1rem;padding:.75rem .9rem;border-left:3px solid var(--mark);background:var(--ground);color:var(--text)}\
footer{margin-top:1.75rem;padding-top:1rem;border-top:1px solid var(--line);font-size:.85rem;color:var(--quiet)}\
code{font:.95em ui-monospace,monospace;color:inherit}";

const TICK: &str = r#"<path d="M14 22.5l6 6 11-12"/>"#;
const CROSS: &str = r#"<path d="M16 16l12 12M28 16L16 28"/>"#;

/// Returns the page for a successful login.
pub fn logged_in(profile: &str) -> LocalResponse {
    let body = format!("<p>ycred has received your token for {}.</p>", escape(profile));
    page(200, "yes", TICK, "You are logged in", &body, "You can close this page and return to the terminal.")
}

/// Returns the page for a login that failed for this reason.
pub fn refused(reason: &str) -> LocalResponse {
    let body = format!("<p class=\"why\">{}</p>", escape(&clean(reason)));
    page(200, "no", CROSS, "You are not logged in", &body, "See the terminal for how to fix it.")
}

/// Returns the page for a callback that is malformed or belongs to another login.
pub fn ignored(why: &str) -> LocalResponse {
    let body = format!("<p>This page does not belong to the login that ycred is waiting for: {}.</p>", escape(why));
    page(400, "no", CROSS, "Login ignored", &body, "If you have started a newer login, complete that one.")
}

/// Returns the response to any other path, and to a callback after the login has ended.
pub fn not_found() -> LocalResponse {
    LocalResponse::text(404, "page not found; if you came here from a login, it has already ended\n")
}

fn page(status: u16, class: &str, mark: &str, title: &str, body: &str, footer: &str) -> LocalResponse {
    let html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\" class=\"{class}\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n<title>{title} - ycred</title>\n\
         <link rel=\"icon\" href=\"data:,\">\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n\
         <svg viewBox=\"0 0 44 44\" fill=\"none\" stroke=\"currentColor\" stroke-width=\"2.5\" stroke-linecap=\"round\" \
         stroke-linejoin=\"round\" aria-hidden=\"true\"><circle cx=\"22\" cy=\"22\" r=\"20\"/>{mark}</svg>\n\
         <h1>{title}</h1>\n{body}\n<footer>{footer}</footer>\n</main>\n</body>\n</html>\n"
    );
    LocalResponse::new(status, "text/html; charset=utf-8", html)
}

fn escape(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_escape_foreign_text_and_load_nothing() {
        for page in
            [refused("<script>alert('1')</script> & \"x\" \u{1b}[31m"), logged_in("profile <b>"), ignored("<i>")]
        {
            let html = String::from_utf8(page.body.to_vec()).expect("UTF-8");
            for forbidden in ["<script", "<b>", "<i>", "http", "\u{1b}", " src="] {
                assert!(!html.contains(forbidden), "{forbidden}: {html}");
            }
        }
    }
}
