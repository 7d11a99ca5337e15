output "queue" {
  description = "The queue that the worker consumes."
  value = {
    name = aws_sqs_queue.events.name
    arn  = aws_sqs_queue.events.arn
    url  = aws_sqs_queue.events.url
  }
}

output "dead_letter_queue" {
  description = "Events that the worker gave up on, each with its reason."
  value = {
    name = aws_sqs_queue.dead_letters.name
    arn  = aws_sqs_queue.dead_letters.arn
    url  = aws_sqs_queue.dead_letters.url
  }
}

output "undelivered_queue" {
  description = "Events that EventBridge could not deliver: the rules' dead-letter queue."
  value = {
    name = aws_sqs_queue.undelivered.name
    arn  = aws_sqs_queue.undelivered.arn
    url  = aws_sqs_queue.undelivered.url
  }
}

output "rules" {
  description = "Every rule's bus and name: by bus those for calls to CloudTrail itself, by bus/source the others."
  value       = { for key, rule in aws_cloudwatch_event_rule.cloudtrail : key => { bus = rule.event_bus_name, name = rule.name } }
}

output "event_patterns" {
  description = "The rules' patterns by source, as JSON: the forwarders' rules take the same."
  value       = local.event_patterns
}

output "state_table" {
  description = "The table of claims."
  value = {
    name = aws_dynamodb_table.state.name
    arn  = aws_dynamodb_table.state.arn
  }
}
