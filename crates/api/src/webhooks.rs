//! Webhooks: where events are told, and what could not be.

use crate::Endpoint;
use keyward_domain::scope::administration as scope;
use keyward_domain::{ApplicationId, Code, WebhookId};
use keyward_service::{
    DeadLetterView, DeadLettersView, DeliveryView, DropRequest, NewWebhook, Reason, ReplayRequest,
    WebhookChange, WebhookTestView, WebhookView, WebhookWithSecretBody,
};
use utoipa::openapi::Required;

const SUBJECT: &str = "Webhooks";

pub fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::post(SUBJECT, "/v1/webhooks", "createWebhook", "Create a webhook")
            .says("The answer has the secret that deliveries are signed with (Standard Webhooks); no other answer has it. The scope may be narrowed to an application, but for webhooks of the built-in one, which tell of all.")
            .scope(scope::WEBHOOKS_WRITE)
            .takes::<NewWebhook>()
            .answers::<WebhookWithSecretBody<'_>>(201, "The webhook and its secret.")
            .creates()
            .refuses(&[Code::NotFound, Code::StateConflict]),
        Endpoint::get(SUBJECT, "/v1/webhooks", "listWebhooks", "The webhooks, retired ones included")
            .says("Without an application the scope must not be narrowed.")
            .scope(scope::WEBHOOKS_READ)
            .query_of::<ApplicationId>("application", "Those of this application.", Required::False)
            .lists::<WebhookView>()
            .reads()
            .refuses(&[Code::NotFound]),
        Endpoint::get(SUBJECT, "/v1/webhooks/dead-letters", "listDeadLetters", "What could not be delivered, what most hangs on first")
            .says("Those of the webhooks that the credential may see; beyond 128 webhooks, those of the most important ones. Their order is by impact, so a page may repeat or miss what dies or is replayed meanwhile.")
            .scope(scope::WEBHOOKS_READ)
            .query_of::<WebhookId>("webhook", "Those of this webhook.", Required::False)
            .query_of::<ApplicationId>("application", "Those of this application's webhooks.", Required::False)
            .lists::<DeadLetterView>()
            .reads()
            .refuses(&[Code::NotFound]),
        Endpoint::get(SUBJECT, "/v1/webhooks/{id}", "getWebhook", "One webhook, and how delivery to it goes")
            .scope(scope::WEBHOOKS_READ)
            .id::<WebhookId>("id")
            .answers::<WebhookView>(200, "The webhook.")
            .shows_revision()
            .reads(),
        Endpoint::patch(SUBJECT, "/v1/webhooks/{id}", "changeWebhook", "Change a webhook, or switch it off and on")
            .says("What happens while it is off is not told later; what was still to be told becomes dead letters.")
            .scope(scope::WEBHOOKS_WRITE)
            .id::<WebhookId>("id")
            .takes::<WebhookChange>()
            .answers::<WebhookView>(200, "The webhook, changed.")
            .changes_revision()
            .refuses(&[Code::StateConflict]),
        Endpoint::post(SUBJECT, "/v1/webhooks/{id}/rotate-secret", "rotateWebhookSecret", "Give a webhook another secret")
            .says("The secret before signs as well for 24 hours.")
            .scope(scope::WEBHOOKS_WRITE)
            .id::<WebhookId>("id")
            .takes_nothing()
            .answers::<WebhookWithSecretBody<'_>>(200, "The webhook and its new secret.")
            .creates()
            .refuses(&[Code::StateConflict]),
        Endpoint::post(SUBJECT, "/v1/webhooks/{id}/test", "testWebhook", "Send a message to a webhook, now")
            .says("Of the type `webhook.tested`, once, whatever the webhook listens to.")
            .scope(scope::WEBHOOKS_WRITE)
            .id::<WebhookId>("id")
            .takes_nothing()
            .answers::<WebhookTestView>(200, "What came of it.")
            .changes()
            .refuses(&[Code::StateConflict]),
        Endpoint::post(SUBJECT, "/v1/webhooks/{id}/retire", "retireWebhook", "Retire a webhook, for good")
            .says("What was still to be told becomes dead letters. One that is retired stays as it is: the answer is its state, without a receipt.")
            .scope(scope::WEBHOOKS_WRITE)
            .id::<WebhookId>("id")
            .takes::<Reason>()
            .answers::<WebhookView>(200, "The webhook, retired.")
            .changes()
            .shows_revision()
            .refuses(&[Code::StateConflict]),
        Endpoint::post(SUBJECT, "/v1/webhooks/{id}/replay", "replayDeadLetters", "Try dead letters of a webhook anew")
            .says("One, or as many as its queue has room for; under the ids that they had.")
            .scope(scope::WEBHOOKS_WRITE)
            .id::<WebhookId>("id")
            .takes::<ReplayRequest>()
            .answers::<DeadLettersView>(200, "How many were.")
            .changes()
            .refuses(&[Code::StateConflict]),
        Endpoint::post(SUBJECT, "/v1/webhooks/{id}/drop", "dropDeadLetters", "Give dead letters of a webhook up, for good")
            .scope(scope::WEBHOOKS_WRITE)
            .id::<WebhookId>("id")
            .takes::<DropRequest>()
            .answers::<DeadLettersView>(200, "How many were.")
            .changes(),
        Endpoint::post(SUBJECT, "/v1/delivery/run", "runDelivery", "Deliver what is due")
            .says("Queues what the log has for webhooks, and sends what is due, for some seconds; several at once share the work. `keyward up` does it every ten seconds; elsewhere a job asks for it.")
            .scope(scope::MAINTENANCE_RUN)
            .takes_nothing()
            .answers::<DeliveryView>(200, "What was done.")
            .changes(),
    ]
}
