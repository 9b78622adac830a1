//! How words that are text on the wire look in the API's document (OpenAPI 3.1). What a derive says well enough is derived.

use utoipa::openapi::{ObjectBuilder, Type};

/// A text of this pattern (ECMA-262), the whole of it.
pub fn text(description: &str, pattern: &str) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).description(Some(description)).pattern(Some(pattern))
}

/// Implements `ToSchema` under the type's own name, as the given schema; types that it refers to follow.
macro_rules! impl_schema {
    ($type:ident, $schema:expr $(, $inner:ident)* $(,)?) => {
        impl utoipa::PartialSchema for $type {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
                $schema.into()
            }
        }

        impl utoipa::ToSchema for $type {
            #[allow(unused_variables, reason = "most refer to no other")]
            fn schemas(schemas: &mut Vec<(String, utoipa::openapi::RefOr<utoipa::openapi::Schema>)>) {
                $(
                    schemas.push(($inner::name().into(), $inner::schema()));
                    $inner::schemas(schemas);
                )*
            }
        }
    };
}

pub(crate) use impl_schema;
