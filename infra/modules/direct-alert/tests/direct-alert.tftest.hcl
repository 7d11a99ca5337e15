# Plans with the real provider and no account: nothing is asked of AWS. What only an account would tell is given.
provider "aws" {
  region                      = "eu-west-1"
  access_key                  = "none"
  secret_key                  = "none"
  skip_credentials_validation = true
  skip_requesting_account_id  = true
  skip_metadata_api_check     = true
}

override_data {
  target = data.aws_caller_identity.here
  values = { account_id = "111122223333" }
}

override_resource {
  target          = aws_cloudformation_stack.connection
  override_during = plan
  values          = { outputs = { Arn = "arn:aws:events:eu-west-1:111122223333:connection/trailkeeper-slack/0" } }
}

override_resource {
  target          = aws_cloudwatch_event_api_destination.slack
  override_during = plan
  values          = { arn = "arn:aws:events:eu-west-1:111122223333:api-destination/trailkeeper-slack/0" }
}

variables {
  rules = {
    default       = { bus = "default", name = "trailkeeper" }
    "default/iam" = { bus = "default", name = "trailkeeper-iam" }
    central       = { bus = "central", name = "trailkeeper" }
  }
  undelivered_queue          = { arn = "arn:aws:sqs:eu-west-1:111122223333:trailkeeper-undelivered" }
  slack_channel              = "C0123456789"
  slack_bot_token_secret_arn = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:trailkeeper/slack-bot-AbCdEf"
  slack_bot_token_version_id = "00000000-0000-0000-0000-000000000000"
}

run "token_by_reference" {
  command = plan

  assert {
    condition = jsondecode(aws_cloudformation_stack.connection.template_body).Resources.Connection.Properties.AuthParameters == {
      ApiKeyAuthParameters = {
        ApiKeyName  = "Authorization"
        ApiKeyValue = "Bearer {{resolve:secretsmanager:arn:aws:secretsmanager:eu-west-1:111122223333:secret:trailkeeper/slack-bot-AbCdEf:SecretString:::00000000-0000-0000-0000-000000000000}}"
      }
    }
    error_message = "The token is named, never held."
  }
}

run "targets" {
  command = plan

  assert {
    condition = { for key, target in aws_cloudwatch_event_target.slack : key => "${target.event_bus_name} ${target.rule} ${target.target_id}" } == {
      default       = "default trailkeeper slack"
      "default/iam" = "default trailkeeper-iam slack"
      central       = "central trailkeeper slack"
    }
    error_message = "Each rule has Slack for a second target, beside the queue."
  }

  assert {
    condition = jsondecode(aws_cloudwatch_event_target.slack["default"].input_transformer[0].input_template) == {
      channel = "C0123456789"
      text    = "<who> called <call> (<source>) in account <account>, <region>, at <time>. Such a call can stop or weaken CloudTrail. This alert comes from EventBridge itself: what the call did, trailkeeper tells."
    }
    error_message = "A plain sentence, in the channel."
  }

  assert {
    condition     = strcontains(aws_cloudwatch_event_target.slack["default"].input_transformer[0].input_template, "<who>")
    error_message = "EventBridge finds the place-holders."
  }

  assert {
    condition     = aws_cloudwatch_event_target.slack["default"].dead_letter_config[0].arn == "arn:aws:sqs:eu-west-1:111122223333:trailkeeper-undelivered"
    error_message = "What cannot be delivered is kept."
  }
}

run "role" {
  command = plan

  assert {
    condition = jsondecode(aws_iam_role.invoke.assume_role_policy).Statement == [{
      Effect    = "Allow"
      Principal = { Service = "events.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = { StringEquals = { "aws:SourceAccount" = "111122223333" } }
    }]
    error_message = "EventBridge alone, for this account."
  }

  assert {
    condition = jsondecode(aws_iam_role_policy.invoke.policy).Statement == [{
      Sid      = "CallSlack"
      Effect   = "Allow"
      Action   = "events:InvokeApiDestination"
      Resource = "arn:aws:events:eu-west-1:111122223333:api-destination/trailkeeper-slack/0"
    }]
    error_message = "This one destination."
  }
}

run "refuses_what_cannot_work" {
  command = plan

  variables {
    name                       = ""
    slack_channel              = "#security-alerts"
    slack_bot_token_secret_arn = "xoxb-0"
    slack_bot_token_version_id = "AWSCURRENT"
  }

  expect_failures = [var.name, var.slack_channel, var.slack_bot_token_secret_arn, var.slack_bot_token_version_id]
}
