# The modules fit together: planned with a provider that asks nothing of AWS.
mock_provider "aws" {
  mock_data "aws_region" {
    defaults = { name = "eu-west-1" }
  }
}

mock_provider "aws" {
  alias = "global"
}

override_data {
  target = data.aws_cloudwatch_event_bus.default
  values = { arn = "arn:aws:events:eu-west-1:111122223333:event-bus/default" }
}

variables {
  region                   = "eu-west-1"
  vpc_id                   = "vpc-0123456789abcdef0"
  subnet_ids               = ["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"]
  image                    = "ghcr.io/example/trailkeeper:1.0.0"
  slack_webhook_secret_arn = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:trailkeeper/slack-webhook-AbCdEf"
}

run "fits_together" {
  command = plan

  assert {
    condition     = length(module.direct_alert) == 0 && output.repository_url == null
    error_message = "What costs or tells twice is off."
  }

  assert {
    condition     = length(module.global_forwarder) == 1
    error_message = "What is recorded in us-east-1 alone is forwarded from there."
  }

  assert {
    condition     = module.worker.environment.TRAILKEEPER_SWEEP_INTERVAL_SECONDS == "300" && contains(module.observability.alarm_names, "trailkeeper-sweep")
    error_message = "All trails are looked at each five minutes, and a sweep that is missed is an alarm."
  }
}

run "where_all_is_recorded" {
  command = plan

  variables {
    region = "us-east-1"
  }

  assert {
    condition     = length(module.global_forwarder) == 0
    error_message = "Nothing is forwarded to where it is."
  }
}

run "all_of_it" {
  command = plan

  variables {
    create_repository = true
    log_buckets       = ["example-cloudtrail-logs"]
    log_keys          = ["1234abcd-12ab-34cd-56ef-1234567890ab"]
    alarm_topic_arn   = "arn:aws:sns:eu-west-1:111122223333:on-call"
    direct_alert = {
      slack_channel              = "C0123456789"
      slack_bot_token_secret_arn = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:trailkeeper/slack-bot-AbCdEf"
      slack_bot_token_version_id = "00000000-0000-0000-0000-000000000000"
    }
  }

  assert {
    condition     = contains(keys(module.pipeline.rules), "default/s3") && contains(keys(module.pipeline.rules), "default/kms")
    error_message = "Buckets and keys have their rules."
  }

  assert {
    condition     = length(module.direct_alert) == 1 && output.alarm_topic_arn == "arn:aws:sns:eu-west-1:111122223333:on-call"
    error_message = "What was asked for is on."
  }
}
