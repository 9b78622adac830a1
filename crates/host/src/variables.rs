//! Variables: where their values come from, and the templates that hand them to components. Values are
//! resolved once, at start; none is ever printed.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::error::StartError;
use crate::manifest::{Manifest, check_variable_name};

/// Every application variable's value. No `Debug`: some are secrets.
pub(crate) struct Values(HashMap<String, String>);

/// One component's variables, by the name it knows them by.
pub(crate) type ComponentVariables = Arc<HashMap<String, String>>;

impl Values {
    /// Spin's precedence: what was given on the command line (`given`, where `@file` stands for a file's
    /// text), then `SPIN_VARIABLE_NAME`, then the default.
    pub(crate) fn resolve(
        manifest: &Manifest,
        given: &[(String, String)],
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, StartError> {
        let fault =
            |name: &str, reason: &str| StartError::Variable { name: name.into(), reason: reason.into() };
        let mut from_command_line = HashMap::new();
        for (name, value) in given {
            if !manifest.variables.contains_key(name) {
                return Err(fault(name, "given with --variable but not declared in `[variables]`"));
            }
            let value = match value.strip_prefix('@') {
                None => value.clone(),
                Some(path) => std::fs::read_to_string(path)
                    .map_err(|e| fault(name, &format!("`{path}` cannot be read: {e}")))?,
            };
            from_command_line.insert(name.clone(), value);
        }
        let mut values = HashMap::new();
        for (name, declaration) in &manifest.variables {
            let value = from_command_line
                .remove(name)
                .or_else(|| environment(&format!("SPIN_VARIABLE_{}", name.to_ascii_uppercase())))
                .or_else(|| declaration.default.clone());
            let missing = || {
                let upper = name.to_ascii_uppercase();
                fault(
                    name,
                    &format!("required and not set; give --variable {name}=... or set SPIN_VARIABLE_{upper}"),
                )
            };
            values.insert(name.clone(), value.ok_or_else(missing)?);
        }
        Ok(Self(values))
    }

    /// Fills `template`: text with `{{ name }}` in it.
    pub(crate) fn fill(&self, template: &str) -> Result<String, String> {
        let mut out = String::new();
        let mut rest = template;
        while let Some((before, after)) = rest.split_once("{{") {
            out.push_str(before);
            let (name, tail) = after.split_once("}}").ok_or("`{{` without `}}` in a template")?;
            let name = name.trim();
            check_variable_name(name).map_err(|e| format!("`{{{{ {name} }}}}`: {e}"))?;
            let value = self
                .0
                .get(name)
                .ok_or_else(|| format!("`{{{{ {name} }}}}` names no entry of `[variables]`"))?;
            out.push_str(value);
            rest = tail;
        }
        out.push_str(rest);
        Ok(out)
    }

    pub(crate) fn of_component(
        &self,
        templates: &BTreeMap<String, String>,
    ) -> Result<ComponentVariables, String> {
        let mut filled = HashMap::new();
        for (name, template) in templates {
            filled.insert(name.clone(), self.fill(template).map_err(|e| format!("variable `{name}`: {e}"))?);
        }
        Ok(Arc::new(filled))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(pairs: &[(&str, &str)]) -> Values {
        Values(pairs.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect())
    }

    #[test]
    fn templates() {
        let values = values(&[("a", "1"), ("b_c", "{{ a }}")]);
        assert_eq!(values.fill("x{{a}}y{{ b_c }}").unwrap(), "x1y{{ a }}", "values are not filled again");
        assert_eq!(values.fill("plain").unwrap(), "plain");
        assert!(values.fill("{{ a").is_err());
        assert!(values.fill("{{ other }}").unwrap_err().contains("`{{ other }}`"));
    }
}
