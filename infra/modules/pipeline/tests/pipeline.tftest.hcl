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
  target          = aws_cloudwatch_event_rule.cloudtrail["default"]
  override_during = plan
  values          = { arn = "arn:aws:events:eu-west-1:111122223333:rule/trailkeeper" }
}

override_resource {
  target          = aws_cloudwatch_event_rule.cloudtrail["default/organizations"]
  override_during = plan
  values          = { arn = "arn:aws:events:eu-west-1:111122223333:rule/trailkeeper-organizations" }
}

override_resource {
  target          = aws_cloudwatch_event_rule.cloudtrail["default/iam"]
  override_during = plan
  values          = { arn = "arn:aws:events:eu-west-1:111122223333:rule/trailkeeper-iam" }
}

override_resource {
  target          = aws_cloudwatch_event_rule.cloudtrail["default/account"]
  override_during = plan
  values          = { arn = "arn:aws:events:eu-west-1:111122223333:rule/trailkeeper-account" }
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
          Condition = { ArnEquals = { "aws:SourceArn" = [
            "arn:aws:events:eu-west-1:111122223333:rule/trailkeeper",
            "arn:aws:events:eu-west-1:111122223333:rule/trailkeeper-account",
            "arn:aws:events:eu-west-1:111122223333:rule/trailkeeper-iam",
            "arn:aws:events:eu-west-1:111122223333:rule/trailkeeper-organizations",
          ] } }
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

run "rules" {
  command = plan

  assert {
    condition     = { for source, pattern in output.event_patterns : source => jsondecode(pattern) } == { for source, pattern in jsondecode(file("event-patterns.json")) : source => pattern if !contains(["s3", "kms"], source) }
    error_message = "The rules' patterns are the file's, but for those that want a bucket or a key."
  }

  assert {
    condition = output.rules == {
      # Neither may change: an apply that makes the rule anew could lose it.
      default                 = { bus = "default", name = "trailkeeper" }
      "default/organizations" = { bus = "default", name = "trailkeeper-organizations" }
      "default/iam"           = { bus = "default", name = "trailkeeper-iam" }
      "default/account"       = { bus = "default", name = "trailkeeper-account" }
    }
    error_message = "There is one rule for each source, on the default bus."
  }

  assert {
    condition     = aws_cloudwatch_event_rule.cloudtrail["default/iam"].event_pattern == output.event_patterns.iam
    error_message = "A rule has its source's pattern."
  }

  assert {
    condition     = alltrue([for rule in aws_cloudwatch_event_rule.cloudtrail : rule.state == "ENABLED"])
    error_message = "Each rule is on."
  }

  assert {
    condition     = { for key, target in aws_cloudwatch_event_target.queue : key => { bus = target.event_bus_name, name = target.rule } } == output.rules
    error_message = "Each rule has a target."
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

run "rules_for_each_bus" {
  command = plan

  variables {
    event_bus_names = ["default", "central"]
  }

  assert {
    condition     = alltrue([for key, rule in output.rules : output.rules[replace(key, "default", "central")] == { bus = "central", name = rule.name } if rule.bus == "default"])
    error_message = "Each bus has rules of its own, and a rule's name is the same on each."
  }

  assert {
    condition     = length(output.rules) == 8 && length(aws_cloudwatch_event_target.queue) == 8
    error_message = "There are four rules on each bus."
  }
}

run "buckets_and_keys" {
  command = plan

  variables {
    log_buckets = ["example-cloudtrail-logs", "example-cloudtrail-logs-2"]
    log_keys = [
      "1234abcd-12ab-34cd-56ef-1234567890ab",
      "arn:aws:kms:eu-west-1:111122223333:key/mrk-1234abcd12ab34cd56ef1234567890ab",
    ]
  }

  assert {
    condition     = output.rules["default/s3"].name == "trailkeeper-s3" && output.rules["default/kms"].name == "trailkeeper-kms"
    error_message = "There is a rule for buckets, and one for keys."
  }

  assert {
    condition     = jsondecode(output.event_patterns.s3).detail.requestParameters == { bucketName = ["example-cloudtrail-logs", "example-cloudtrail-logs-2"] }
    error_message = "The rule hears of these buckets alone."
  }

  assert {
    condition     = jsondecode(output.event_patterns.kms).detail.requestParameters == { keyId = [{ suffix = "1234abcd-12ab-34cd-56ef-1234567890ab" }, { suffix = "mrk-1234abcd12ab34cd56ef1234567890ab" }] }
    error_message = "The rule hears of these keys alone, whether a call names a key by its id or by its ARN."
  }

  assert {
    condition     = jsondecode(output.event_patterns.kms).detail.eventName == jsondecode(file("event-patterns.json")).kms.detail.eventName
    error_message = "The names of calls stay."
  }
}

run "refuses_more_than_a_pattern_holds" {
  command = plan

  variables {
    log_buckets = [for number in range(100) : "example-cloudtrail-logs-${number}"]
  }

  expect_failures = [aws_cloudwatch_event_rule.cloudtrail]
}

run "narrowed" {
  command = plan

  variables {
    event_names = ["StopLogging", "DeleteTrail"]
  }

  assert {
    condition = jsondecode(output.event_patterns.cloudtrail) == {
      source      = ["aws.cloudtrail"]
      detail-type = ["AWS API Call via CloudTrail"]
      detail = {
        eventSource = ["cloudtrail.amazonaws.com"]
        eventName   = ["StopLogging", "DeleteTrail"]
      }
    }
    error_message = "event_names takes the place of the file's names, and of nothing else."
  }

  assert {
    condition     = { for source, pattern in output.event_patterns : source => jsondecode(pattern) if source != "cloudtrail" } == { for source, pattern in jsondecode(file("event-patterns.json")) : source => pattern if contains(["organizations", "iam", "account"], source) }
    error_message = "event_names says nothing of other sources."
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
    log_buckets     = ["arn:aws:s3:::example-cloudtrail-logs"]
    log_keys        = ["alias/cloudtrail"]
  }

  expect_failures = [var.name, var.event_names, var.event_bus_names, var.log_buckets, var.log_keys]
}
