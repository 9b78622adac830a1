//! The rings and their roll-over.

use crate::Endpoint;
use keyward_domain::scope::administration as scope;
use keyward_service::{ResealRequest, ResealingView, RingsView};

const SUBJECT: &str = "Rings";

pub fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get(SUBJECT, "/v1/rings", "getRings", "Which versions the rings have, and what is sealed under each")
            .says("The versions are those of the process that answers; the counts are those of the last whole pass. Never a key.")
            .scope(scope::RINGS_READ)
            .answers::<RingsView>(200, "The rings.")
            .reads(),
        Endpoint::post(SUBJECT, "/v1/rings/reseal", "resealRecords", "Seal records anew under the active version, for one step")
            .says(
                "A step looks at about 512 records. Asked again and again, the pass comes to its end; `settled` says that one found \
                 everything under the active version. The scheduler does the same steps.",
            )
            .scope(scope::RINGS_WRITE)
            .takes::<ResealRequest>()
            .answers::<ResealingView>(200, "How far it is.")
            .changes(),
    ]
}
