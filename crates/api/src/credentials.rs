//! The vault: credentials of third parties, and what they hold.

use crate::Endpoint;
use crate::components::optional;
use keyward_domain::credential::CredentialName;
use keyward_domain::scope::administration as scope;
use keyward_domain::tag::Tag;
use keyward_domain::{ApplicationId, Code, CredentialId};
use keyward_service::{
    CredentialChange, CredentialImport, CredentialImportView, CredentialState, CredentialValueBody,
    CredentialView, NewCredential, NewCredentialVersion, NewProvider, ProviderWithSecretBody, Reason,
    ResealVault, RollBack, RotationRunView, VaultResealingView, VaultRingView,
};
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::{ObjectBuilder, Required, Type};

const SUBJECT: &str = "Credentials";
const ANSWER: &str = "What it holds; signed (RFC 9421), and kept by no cache.";
const READING: &str = "Each answer is an event of the log, written before. A key of another application than `keyward` reads the credentials of its own application whose names its scopes `credentials:read@NAME` grant. `If-None-Match` with the `ETag` of an answer asks only for what has changed since, and `wait_s` waits for that; a 304 hands nothing out and is no event.";

pub fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::post(SUBJECT, "/v1/credentials", "createCredential", "Create a credential, with its first version")
            .says("What it holds is in no answer but that of its read. The body may have 400 KiB.")
            .scope(scope::CREDENTIALS_WRITE)
            .takes::<NewCredential>()
            .answers::<CredentialView>(201, "The credential, without what it holds.")
            .creates()
            .refuses(&[Code::NotFound, Code::NameTaken, Code::Misconfigured]),
        Endpoint::post(SUBJECT, "/v1/credentials/import", "importCredentials", "Import credentials that lay elsewhere, many at once")
            .says("In one commit. One that is refused keeps no other from being imported, and one that is there already with the same value stays as it is, so a call can be made again. The scope is asked for each name. The body may have 400 KiB: six values of 64 KiB, or 32 of 12 KiB. Where nothing is imported or written there may be no receipt.")
            .scope(scope::CREDENTIALS_WRITE)
            .takes::<CredentialImport>()
            .answers::<CredentialImportView>(200, "What became of each, in the order given; with `dry_run`, what would have.")
            .creates()
            .refuses(&[Code::Misconfigured]),
        Endpoint::get(SUBJECT, "/v1/credentials", "listCredentials", "The credentials, retired ones included, without what they hold")
            .says("Those that the credential of the caller may see; a page may be short of them and lead on all the same.")
            .scope(scope::CREDENTIALS_LIST)
            .query_of::<ApplicationId>("application", "Those of this application.", Required::False)
            .query(optional(ParameterIn::Query, "name", "Those whose name begins so.", ObjectBuilder::new().schema_type(Type::String)))
            .query_of::<Tag>("tag", "Those with this tag, in any spelling.", Required::False)
            .query_of::<CredentialState>("state", "Those that stand so.", Required::False)
            .lists::<CredentialView>()
            .reads()
            .refuses(&[Code::NotFound]),
        Endpoint::get(SUBJECT, "/v1/credentials/value", "readCredentialByName", "What a credential holds, by its name")
            .says(READING)
            .scope(scope::CREDENTIALS_READ)
            .query_of::<CredentialName>("name", "Its name.", Required::True)
            .query_of::<ApplicationId>("application", "The application that it belongs to; a service need not name its own.", Required::False)
            .query(which_version())
            .answers::<CredentialValueBody<'_>>(200, ANSWER)
            .waits_for_change()
            .reads()
            .refuses(&[Code::NotFound, Code::StateConflict, Code::OutcomeUnknown, Code::StoreRolledBack, Code::Misconfigured]),
        Endpoint::post(SUBJECT, "/v1/credentials/reseal", "resealCredentials", "Seal what credentials hold anew under the active version of their ring, for one step")
            .says("A pass goes on with the cursor of the step before; `keyward ring reseal --vault` makes a whole one.")
            .scope(scope::RINGS_WRITE)
            .takes::<ResealVault>()
            .answers::<VaultResealingView>(200, "What the step came to.")
            .changes()
            .refuses(&[Code::InvalidParameter, Code::Misconfigured]),
        Endpoint::get(SUBJECT, "/v1/credentials/ring", "getVaultRing", "Which versions the ring of the vault has, and what lies under each, for one step")
            .says("As for the other rings, but counted by whoever asks: a pass goes on with the cursor of the step before, and its counts add up. Never a key.")
            .scope(scope::RINGS_READ)
            .query(optional(ParameterIn::Query, "cursor", "Where the step before ended.", ObjectBuilder::new().schema_type(Type::String).min_length(Some(1))))
            .answers::<VaultRingView>(200, "The ring.")
            .reads()
            .refuses(&[Code::InvalidParameter, Code::Misconfigured]),
        Endpoint::get(SUBJECT, "/v1/credentials/{id}", "getCredential", "One credential, without what it holds")
            .scope(scope::CREDENTIALS_LIST)
            .id::<CredentialId>("id")
            .answers::<CredentialView>(200, "The credential.")
            .shows_revision()
            .reads(),
        Endpoint::patch(SUBJECT, "/v1/credentials/{id}", "changeCredential", "Change what is known of a credential")
            .says("What it holds changes by a new version.")
            .scope(scope::CREDENTIALS_WRITE)
            .id::<CredentialId>("id")
            .takes::<CredentialChange>()
            .answers::<CredentialView>(200, "The credential, changed.")
            .changes_revision()
            .refuses(&[Code::NameTaken, Code::StateConflict]),
        Endpoint::post(SUBJECT, "/v1/credentials/{id}/retire", "retireCredential", "Retire a credential, for good, and destroy what it holds")
            .says("Its name is free. One that is retired stays as it is: the answer is its state, without a receipt.")
            .scope(scope::CREDENTIALS_DESTROY)
            .id::<CredentialId>("id")
            .takes::<Reason>()
            .answers::<CredentialView>(200, "The credential, retired.")
            .changes()
            .shows_revision()
            .refuses(&[Code::StateConflict]),
        Endpoint::get(SUBJECT, "/v1/credentials/{id}/value", "readCredential", "What a credential holds")
            .says(READING)
            .scope(scope::CREDENTIALS_READ)
            .id::<CredentialId>("id")
            .query(which_version())
            .answers::<CredentialValueBody<'_>>(200, ANSWER)
            .waits_for_change()
            .reads()
            .refuses(&[Code::StateConflict, Code::OutcomeUnknown, Code::StoreRolledBack, Code::Misconfigured]),
        Endpoint::post(SUBJECT, "/v1/credentials/{id}/versions", "writeCredential", "Write a new version, the current one from then on")
            .says("Sixteen versions keep what they hold; with the next one the oldest is destroyed. The body may have 400 KiB.")
            .scope(scope::CREDENTIALS_WRITE)
            .id::<CredentialId>("id")
            .takes::<NewCredentialVersion>()
            .answers::<CredentialView>(201, "The credential, without what it holds.")
            .creates()
            .refuses(&[Code::StateConflict, Code::Misconfigured]),
        Endpoint::post(SUBJECT, "/v1/credentials/{id}/roll-back", "rollCredentialBack", "Make an earlier version the current one again")
            .scope(scope::CREDENTIALS_WRITE)
            .id::<CredentialId>("id")
            .takes::<RollBack>()
            .answers::<CredentialView>(200, "The credential.")
            .creates()
            .shows_revision()
            .refuses(&[Code::StateConflict]),
        Endpoint::post(SUBJECT, "/v1/credentials/{id}/versions/{version}/destroy", "destroyCredentialVersion", "Destroy what a version holds, for good")
            .says("Not the current one: another has to take its place first. One that is destroyed stays so: the answer is its state, without a receipt.")
            .scope(scope::CREDENTIALS_DESTROY)
            .id::<CredentialId>("id")
            .query(version_in_path())
            .takes::<Reason>()
            .answers::<CredentialView>(200, "The credential.")
            .changes()
            .shows_revision()
            .refuses(&[Code::StateConflict]),
        Endpoint::post(SUBJECT, "/v1/credentials/{id}/provider", "setCredentialProvider", "Give a credential a provider that rotates it, or another one")
            .says("Its hook is called as docs/vault.md has it, signed with the secret in the answer, which is in no other. Whoever names one may read what the credential holds: that is sent there.")
            .scope(scope::CREDENTIALS_WRITE)
            .id::<CredentialId>("id")
            .takes::<NewProvider>()
            .answers::<ProviderWithSecretBody<'_>>(200, "The credential, and the secret.")
            .creates()
            .refuses(&[Code::StateConflict, Code::Misconfigured]),
        Endpoint::post(SUBJECT, "/v1/credentials/{id}/provider/remove", "removeCredentialProvider", "Take the provider of a credential away")
            .scope(scope::CREDENTIALS_WRITE)
            .id::<CredentialId>("id")
            .takes::<Reason>()
            .answers::<CredentialView>(200, "The credential.")
            .changes()
            .shows_revision()
            .refuses(&[Code::StateConflict]),
        Endpoint::post(SUBJECT, "/v1/credentials/{id}/rotate", "rotateCredential", "Begin the rotation of a credential by its provider")
            .says("The provider is called by the next run; `rotation` of the credential says how it goes.")
            .scope(scope::CREDENTIALS_WRITE)
            .id::<CredentialId>("id")
            .takes::<Reason>()
            .answers::<CredentialView>(200, "The credential.")
            .changes()
            .shows_revision()
            .refuses(&[Code::StateConflict]),
        Endpoint::post(SUBJECT, "/v1/credentials/{id}/rotation/cancel", "cancelCredentialRotation", "Take the rotation of a credential back")
            .says("The version that was current when it began is current from then on. Not once the provider was asked to end that one.")
            .scope(scope::CREDENTIALS_WRITE)
            .id::<CredentialId>("id")
            .takes::<Reason>()
            .answers::<CredentialView>(200, "The credential.")
            .changes()
            .shows_revision()
            .refuses(&[Code::StateConflict]),
        Endpoint::post(SUBJECT, "/v1/credentials/rotations/run", "runCredentialRotations", "Go on with rotations that are under way")
            .says("Calls the providers that are to be called, for some seconds; several at once share the work. `keyward up` does it every ten seconds; elsewhere a job asks for it.")
            .scope(scope::MAINTENANCE_RUN)
            .takes_nothing()
            .answers::<RotationRunView>(200, "What was done.")
            .changes()
            .refuses(&[Code::Misconfigured]),
    ]
}

fn number() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1)).maximum(Some(u32::MAX))
}

fn which_version() -> Parameter {
    optional(ParameterIn::Query, "version", "Which version; the current one where there is none.", number())
}

fn version_in_path() -> Parameter {
    ParameterBuilder::new()
        .name("version")
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .description(Some("The version's number."))
        .schema(Some(number()))
        .build()
}
