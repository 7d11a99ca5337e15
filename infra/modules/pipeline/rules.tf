locals {
  # The pattern stands in this file alone; the tests and the compose stack read it too. Calls that failed are
  # wanted as well, so it says nothing of errorCode.
  pattern     = jsondecode(file("${path.module}/event-pattern.json"))
  event_names = coalesce(var.event_names, local.pattern.detail.eventName)
  event_pattern = jsonencode(merge(local.pattern, {
    detail = merge(local.pattern.detail, { eventName = local.event_names })
  }))
}

resource "aws_cloudwatch_event_rule" "cloudtrail" {
  for_each = var.event_bus_names

  name           = var.name
  description    = "Calls that switch CloudTrail off or weaken it, for trailkeeper"
  event_bus_name = each.key
  event_pattern  = local.event_pattern
  # Not ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS: that adds read-only calls, and all of these write.
  state = "ENABLED"
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
