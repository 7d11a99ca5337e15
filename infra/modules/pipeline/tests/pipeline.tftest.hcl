# Plans with the real provider and no account: nothing is asked of AWS. ARNs that only an apply would tell are given.
provider "aws" {
  region                      = "eu-west-1"
  access_key                  = "none"
  secret_key                  = "none"
  skip_credentials_validation = true
  skip_requesting_account_id  = true
  skip_metadata_api_check     = true
}

override_resource {
  target          = aws_sqs_queue.events
  override_during = plan
  values          = { arn = "arn:aws:sqs:eu-west-1:111122223333:trailkeeper" }
}

override_resource {
  target          = aws_sqs_queue.dead_letters
  override_during = plan
  values          = { arn = "arn:aws:sqs:eu-west-1:111122223333:trailkeeper-dlq" }
}

override_resource {
  target          = aws_sqs_queue.undelivered
  override_during = plan
  values          = { arn = "arn:aws:sqs:eu-west-1:111122223333:trailkeeper-undelivered" }
}

override_resource {
  target          = aws_cloudwatch_event_rule.cloudtrail
  override_during = plan
  values          = { arn = "arn:aws:events:eu-west-1:111122223333:rule/trailkeeper" }
}

run "queues" {
  command = plan

  assert {
    condition     = alltrue([for queue in [aws_sqs_queue.events, aws_sqs_queue.dead_letters, aws_sqs_queue.undelivered] : queue.sqs_managed_sse_enabled])
    error_message = "Every queue is encrypted by SQS."
  }

  assert {
    condition     = aws_sqs_queue.dead_letters.message_retention_seconds > aws_sqs_queue.events.message_retention_seconds
    error_message = "A dead letter keeps its age: its queue must keep it for longer."
  }

  assert {
    condition = jsondecode(aws_sqs_queue.events.redrive_policy) == {
      deadLetterTargetArn = "arn:aws:sqs:eu-west-1:111122223333:trailkeeper-dlq"
      maxReceiveCount     = 20
    }
    error_message = "The queue gives messages to its dead-letter queue after 20 receives."
  }

  assert {
    condition = jsondecode(aws_sqs_queue_redrive_allow_policy.dead_letters.redrive_allow_policy) == {
      redrivePermission = "byQueue"
      sourceQueueArns   = ["arn:aws:sqs:eu-west-1:111122223333:trailkeeper"]
    }
    error_message = "The dead-letter queue takes redriven messages from this queue alone."
  }
}

run "queue_policies" {
  command = plan

  assert {
    condition = { for name, policy in aws_sqs_queue_policy.from_rules : name => jsondecode(policy.policy).Statement } == {
      for name, arn in {
        events      = "arn:aws:sqs:eu-west-1:111122223333:trailkeeper"
        undelivered = "arn:aws:sqs:eu-west-1:111122223333:trailkeeper-undelivered"
        } : name => [
        {
          Sid       = "RulesSend"
          Effect    = "Allow"
          Principal = { Service = "events.amazonaws.com" }
          Action    = "sqs:SendMessage"
          Resource  = arn
          Condition = { ArnEquals = { "aws:SourceArn" = ["arn:aws:events:eu-west-1:111122223333:rule/trailkeeper"] } }
        },
        {
          Sid       = "TlsOnly"
          Effect    = "Deny"
          Principal = "*"
          Action    = "sqs:*"
          Resource  = arn
          Condition = { Bool = { "aws:SecureTransport" = "false" } }
        },
      ]
    }
    error_message = "The rules alone may send, to the queue and to their own dead-letter queue, and over TLS alone."
  }

  assert {
    condition = jsondecode(aws_sqs_queue_policy.dead_letters.policy).Statement == [{
      Sid       = "TlsOnly"
      Effect    = "Deny"
      Principal = "*"
      Action    = "sqs:*"
      Resource  = "arn:aws:sqs:eu-west-1:111122223333:trailkeeper-dlq"
      Condition = { Bool = { "aws:SecureTransport" = "false" } }
    }]
    error_message = "The dead-letter queue's policy lets nobody in: the worker's role does."
  }
}

run "rule" {
  command = plan

  assert {
    condition     = jsondecode(aws_cloudwatch_event_rule.cloudtrail["default"].event_pattern) == jsondecode(file("event-pattern.json"))
    error_message = "The rule's pattern is the file's."
  }

  assert {
    condition     = keys(aws_cloudwatch_event_rule.cloudtrail) == ["default"] && aws_cloudwatch_event_rule.cloudtrail["default"].state == "ENABLED"
    error_message = "There is one rule, on the default bus, and it is on."
  }

  assert {
    condition     = aws_cloudwatch_event_target.queue["default"].role_arn == null && length(aws_cloudwatch_event_target.queue["default"].input_transformer) == 0
    error_message = "The queue gets the raw event, by its own policy."
  }

  assert {
    condition     = aws_cloudwatch_event_target.queue["default"].dead_letter_config[0].arn == "arn:aws:sqs:eu-west-1:111122223333:trailkeeper-undelivered"
    error_message = "What cannot be delivered is kept."
  }

  assert {
    condition = alltrue([
      aws_cloudwatch_event_target.queue["default"].retry_policy[0].maximum_event_age_in_seconds == 86400,
      aws_cloudwatch_event_target.queue["default"].retry_policy[0].maximum_retry_attempts == 185,
    ])
    error_message = "EventBridge tries for a day."
  }
}

run "a_rule_for_each_bus" {
  command = plan

  variables {
    event_bus_names = ["default", "trailkeeper"]
  }

  assert {
    condition     = { for bus, target in aws_cloudwatch_event_target.queue : bus => target.event_bus_name } == { default = "default", trailkeeper = "trailkeeper" }
    error_message = "Each bus has a rule and a target of its own."
  }
}

run "narrowed" {
  command = plan

  variables {
    event_names = ["StopLogging", "DeleteTrail"]
  }

  assert {
    condition = jsondecode(output.event_pattern) == {
      source      = ["aws.cloudtrail"]
      detail-type = ["AWS API Call via CloudTrail"]
      detail = {
        eventSource = ["cloudtrail.amazonaws.com"]
        eventName   = ["StopLogging", "DeleteTrail"]
      }
    }
    error_message = "event_names takes the place of the file's names, and of nothing else."
  }
}

run "state_table" {
  command = plan

  assert {
    condition     = aws_dynamodb_table.state.hash_key == "pk" && aws_dynamodb_table.state.range_key == null && one(aws_dynamodb_table.state.attribute).type == "S"
    error_message = "The key is what the worker expects."
  }

  assert {
    condition     = aws_dynamodb_table.state.ttl[0].attribute_name == "expires_at" && aws_dynamodb_table.state.ttl[0].enabled
    error_message = "Items end when the worker says so."
  }

  assert {
    condition     = !aws_dynamodb_table.state.point_in_time_recovery[0].enabled
    error_message = "Backups cost money: only when asked for."
  }
}

run "backups_when_asked_for" {
  command = plan

  variables {
    point_in_time_recovery = true
  }

  assert {
    condition     = aws_dynamodb_table.state.point_in_time_recovery[0].enabled
    error_message = "point_in_time_recovery switches backups on."
  }
}

run "refuses_what_cannot_work" {
  command = plan

  variables {
    name            = "Trail_Keeper"
    event_names     = ["DeleteTrail"]
    event_bus_names = ["central"]
  }

  expect_failures = [var.name, var.event_names, var.event_bus_names]
}
