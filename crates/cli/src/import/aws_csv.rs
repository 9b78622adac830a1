//! The tables that the console of AWS hands out for access keys (`accessKeys.csv`) and for new users (`new_user_credentials.csv`).

use keyward_crypto::SecretText;
use keyward_domain::credential::Kind;

use super::source::{Fault, Place};
use super::tables::{Row, Table};
use super::{Found, Held};

const USER: &str = "user name";
const PASSWORD: &str = "password";
const KEY_ID: &str = "access key id";
const SECRET: &str = "secret access key";
const LINK: &str = "console login link";

/// Whether the first line of a text is that of such a table.
pub fn is_certain(text: &str) -> bool {
    let first = text.lines().next().unwrap_or_default().to_ascii_lowercase();
    [KEY_ID, SECRET].iter().all(|column| first.contains(column))
}

/// The access keys and passwords of a table.
///
/// # Errors
/// It is no such table.
pub fn read(text: &str) -> Result<Vec<Found>, Fault> {
    let table = Table::read(text)?;
    if ![KEY_ID, SECRET].iter().all(|column| table.columns.iter().any(|name| name == column)) {
        let what = "no table of AWS; expected the columns `Access key ID` and `Secret access key`";
        return Err(Fault::new(Place { line: 1, column: 1 }, what));
    }
    Ok(table.rows.iter().flat_map(|row| of_row(&table, row)).collect())
}

/// The access key of a row, and the password of its user.
fn of_row(table: &Table, row: &Row) -> Vec<Found> {
    let cell = |column| table.cell(row, column);
    let pair = |path: Vec<&str>, description: String, username: &str, password: &str| Found {
        place: row.place,
        path: path.into_iter().map(str::to_owned).collect(),
        description,
        held: Held::Fields(
            Kind::Basic,
            vec![
                ("username", SecretText::new(username.to_owned())),
                ("password", SecretText::new(password.to_owned())),
            ],
        ),
    };
    let user = cell(USER);
    let key = match (cell(KEY_ID), cell(SECRET)) {
        (Some(id), Some(secret)) => {
            let path = user.map_or(vec![id], |user| vec![user, "access-key"]);
            Some(pair(path, "AWS access key: its id and its secret".to_owned(), id, secret))
        }
        (None, None) => None,
        _ => Some(Found {
            place: row.place,
            path: vec![user.or(cell(KEY_ID)).unwrap_or("access-key").to_owned()],
            description: String::new(),
            held: Held::Unfit("an access key without its id or its secret; both are needed".to_owned()),
        }),
    };
    let password = user.zip(cell(PASSWORD)).map(|(user, password)| {
        let link = cell(LINK).map(|link| format!(": {link}")).unwrap_or_default();
        pair(vec![user, "console"], format!("AWS console{link}"), user, password)
    });
    key.into_iter().chain(password).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> Vec<String> {
        let all = read(text).expect("reads");
        let told = all.into_iter().map(|one| {
            let held = match one.held {
                Held::Fields(kind, fields) => {
                    let fields = fields.iter().map(|(_, text)| text.expose().to_owned());
                    format!("{} {}", kind.as_str(), fields.collect::<Vec<_>>().join(" "))
                }
                Held::Unfit(_) => "<refused>".to_owned(),
                _ => unreachable!("a row has fields"),
            };
            format!("{} {} {held} ({})", one.place.line, one.path.join("/"), one.description)
        });
        told.collect()
    }

    #[test]
    fn both_tables_are_read_as_the_console_writes_them() {
        let keys = "Access key ID,Secret access key\r\nAKIAEXAMPLE,wJal/rX+U\r\n";
        assert!(is_certain(keys));
        assert_eq!(
            told(keys),
            ["2 AKIAEXAMPLE basic AKIAEXAMPLE wJal/rX+U (AWS access key: its id and its secret)"]
        );
        let users = "User name,Password,Access key ID,Secret access key,Console login link\r\n\
                     ci-bot,,AKIA1,s1,https://1.signin.aws.amazon.com/console\r\n\
                     jo,\"p,w\"\"d\",AKIA2,s2,https://1.signin.aws.amazon.com/console\r\n\
                     eve,pw,,s3,\r\n";
        assert!(is_certain(users));
        assert_eq!(
            told(users),
            [
                "2 ci-bot/access-key basic AKIA1 s1 (AWS access key: its id and its secret)",
                "3 jo/access-key basic AKIA2 s2 (AWS access key: its id and its secret)",
                "3 jo/console basic jo p,w\"d (AWS console: https://1.signin.aws.amazon.com/console)",
                "4 eve <refused> ()",
                "4 eve/console basic eve pw (AWS console)",
            ]
        );
    }

    #[test]
    fn a_fault_says_where_and_never_what() {
        for (text, line, says) in [
            ("a,b\nhush,hush", 1, "no table of AWS"),
            ("Access key ID,Secret access key\nA,b\nhush", 3, "1 cells"),
            ("", 1, "no table of AWS"),
        ] {
            let fault = read(text).err().expect("refused");
            assert_eq!(fault.place.line, line, "{text:?}");
            assert!(fault.what.contains(says) && !fault.what.contains("hush"), "{fault:?}");
        }
    }
}
