locals {
  # By source. The names of calls stand in this file alone, and src/event/calls.rs knows what each means; the tests and the
  # compose stack read it too. Calls that failed are wanted as well, so no pattern says anything of errorCode.
  # A denied call often has no parameters. So the two calls that matter only with CloudTrail's name among them are taken
  # without it too, and so are the calls beside them, which have no such parameter.
  patterns = jsondecode(file("${path.module}/event-patterns.json"))

  # What every account has many of. Which of them are CloudTrail's must be said, or there is no rule.
  resources = { s3 = var.log_buckets, kms = var.log_keys }

  # What the inputs add to a pattern's detail, or say in its place.
  details = {
    cloudtrail = { eventName = coalesce(var.event_names, local.patterns.cloudtrail.detail.eventName) }
    s3         = { requestParameters = { bucketName = var.log_buckets } }
    # A call names a key by its id or by its ARN, as the caller chose. The ARN ends with the id, and no other key's does.
    kms = { requestParameters = { keyId = [for key in var.log_keys : { suffix = element(split("/", key), -1) }] } }
  }

  event_patterns = {
    for source, pattern in local.patterns :
    source => jsonencode(merge(pattern, { detail = merge(pattern.detail, try(local.details[source], {})) }))
    if length(lookup(local.resources, source, ["any"])) > 0
  }

  # The rules for calls to CloudTrail itself are the oldest, and keep their addresses and names: of two rules with one
  # name, Terraform could make the new one first and then delete it with the old one.
  rules = merge([for bus in var.event_bus_names : {
    for source, pattern in local.event_patterns : source == "cloudtrail" ? bus : "${bus}/${source}" => {
      bus     = bus
      name    = source == "cloudtrail" ? var.name : "${var.name}-${source}"
      pattern = pattern
    }
  }]...)
}

resource "aws_cloudwatch_event_rule" "cloudtrail" {
  for_each = local.rules

  name           = each.value.name
  description    = "Calls that switch CloudTrail off or weaken it, for trailkeeper"
  event_bus_name = each.value.bus
  event_pattern  = each.value.pattern
  # Not ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS: that adds read-only calls, and all of these write.
  state = "ENABLED"

  lifecycle {
    precondition {
      condition     = length(each.value.pattern) < 2048
      error_message = "The pattern of the rule ${each.value.name} has ${length(each.value.pattern)} characters, and EventBridge takes fewer than 2,048: name fewer log_buckets, log_keys or event_names."
    }
  }
}

resource "aws_cloudwatch_event_target" "queue" {
  for_each = aws_cloudwatch_event_rule.cloudtrail

  rule           = each.value.name
  event_bus_name = each.value.event_bus_name
  target_id      = "queue"
  # No role_arn: for a queue of the same account EventBridge goes by the queue's policy.
  # No input_transformer: it would drop eventID, account and Region.
  arn = aws_sqs_queue.events.arn

  retry_policy {
    # The most that EventBridge does, and what it does unasked; said, so that nobody has to look it up.
    maximum_event_age_in_seconds = 86400
    maximum_retry_attempts       = 185
  }

  dead_letter_config {
    arn = aws_sqs_queue.undelivered.arn
  }
}
