# The modules fit together: planned with providers that ask nothing of AWS.
mock_provider "aws" {
  mock_data "aws_region" {
    defaults = { name = "eu-west-1" }
  }
}

mock_provider "aws" {
  alias = "management"

  mock_data "aws_region" {
    defaults = { name = "eu-west-1" }
  }
}

mock_provider "aws" {
  alias = "management_global"
}

variables {
  region                   = "eu-west-1"
  organization_id          = "o-abcdefghij"
  organizational_unit_ids  = ["r-abcd"]
  regions                  = ["eu-west-1", "us-east-1"]
  management_role_arn      = "arn:aws:iam::999999999999:role/terraform"
  vpc_id                   = "vpc-0123456789abcdef0"
  subnet_ids               = ["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"]
  image                    = "ghcr.io/example/trailkeeper:1.0.0"
  slack_webhook_secret_arn = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:trailkeeper/slack-webhook-AbCdEf"
}

override_resource {
  target          = module.central_bus.aws_cloudwatch_event_bus.central
  override_during = plan
  values          = { arn = "arn:aws:events:eu-west-1:111122223333:event-bus/trailkeeper" }
}

override_resource {
  target          = module.worker.aws_iam_role.task
  override_during = plan
  values          = { arn = "arn:aws:iam::111122223333:role/trailkeeper-task" }
}

# So that the plan has the worker's policy, which infra/test/test_organization.py reads.
override_resource {
  target          = module.pipeline.aws_sqs_queue.events
  override_during = plan
  values          = { arn = "arn:aws:sqs:eu-west-1:111122223333:trailkeeper" }
}

override_resource {
  target          = module.pipeline.aws_sqs_queue.dead_letters
  override_during = plan
  values          = { arn = "arn:aws:sqs:eu-west-1:111122223333:trailkeeper-dlq" }
}

override_resource {
  target          = module.pipeline.aws_dynamodb_table.state
  override_during = plan
  values          = { arn = "arn:aws:dynamodb:eu-west-1:111122223333:table/trailkeeper" }
}

run "fits_together" {
  command = plan

  assert {
    condition     = toset(keys(module.pipeline.rules)) == toset([for rule in setproduct(["default", "trailkeeper"], ["", "/organizations", "/iam", "/account"]) : join("", rule)])
    error_message = "The queue hears of its own account and of the central bus."
  }

  assert {
    condition     = output.forwarder_stack_set_name == "trailkeeper-forwarder" && output.member_role_stack_set_name == "trailkeeper-member"
    error_message = "Member accounts get stack sets."
  }

  assert {
    condition     = module.management_forwarder.stack_set_name == null && module.management_global_forwarder[0].stack_set_name == null && module.management_role.stack_set_name == null
    error_message = "The management account gets stacks of its own."
  }

  assert {
    condition     = module.worker.environment.TRAILKEEPER_MODE == "restore"
    error_message = "Trails are restarted."
  }

  assert {
    condition     = contains(module.observability.alarm_names, "trailkeeper-role-denied")
    error_message = "A role that cannot be taken is an alarm."
  }

  assert {
    condition     = module.worker.environment.TRAILKEEPER_SWEEP_INTERVAL_SECONDS == "900" && contains(module.observability.alarm_names, "trailkeeper-sweep")
    error_message = "All trails of many accounts are looked at each quarter of an hour, and a sweep that is missed is an alarm."
  }

  assert {
    condition     = length(module.direct_alert) == 0
    error_message = "The direct alert is off."
  }
}

run "dry_run" {
  command = plan

  variables {
    mode = "dry-run"
  }

  assert {
    condition     = !contains(module.observability.alarm_names, "trailkeeper-sweep")
    error_message = "In a dry run there is no sweep, and none is missed."
  }
}

run "member_roles" {
  command = plan

  variables {
    operators_role_arn      = "arn:aws:iam::111122223333:role/trailkeeper-operators"
    organization_trail_arns = ["arn:aws:cloudtrail:us-east-1:999999999999:trail/organization"]
  }

  assert {
    condition     = module.worker.environment.TRAILKEEPER_MEMBER_ROLE == "trailkeeper-member" && module.worker.environment.TRAILKEEPER_EXTERNAL_ID == "trailkeeper"
    error_message = "The worker takes the role, and gives the external id."
  }

  assert {
    condition = alltrue([for template in [module.member_roles.template, module.management_role.template] : alltrue([
      jsondecode(template).Resources.Role.Properties.RoleName == module.worker.environment.TRAILKEEPER_MEMBER_ROLE,
      jsondecode(template).Resources.Role.Properties.AssumeRolePolicyDocument.Statement == [{
        Effect    = "Allow"
        Principal = { AWS = "arn:aws:iam::111122223333:root" }
        Action    = "sts:AssumeRole"
        Condition = {
          ArnEquals = { "aws:PrincipalArn" = [
            "arn:aws:iam::111122223333:role/trailkeeper-task", "arn:aws:iam::111122223333:role/trailkeeper-operators",
          ] }
          StringEquals = {
            "aws:PrincipalOrgID" = "o-abcdefghij"
            "sts:ExternalId"     = module.worker.environment.TRAILKEEPER_EXTERNAL_ID
          }
        }
      }],
    ])])
    error_message = "Each account's role has the name that the worker takes, and trusts its role and that of its operators, with what it gives."
  }

  assert {
    condition = alltrue([for template in [module.member_roles.template, module.management_role.template] :
      strcontains(template, "cloudtrail:StartLogging") && !strcontains(template, "StopLogging")
    ])
    error_message = "No role stops a trail."
  }

  assert {
    condition     = strcontains(module.management_role.template, "arn:aws:cloudtrail:us-east-1:999999999999:trail/organization") && !strcontains(module.member_roles.template, "999999999999")
    error_message = "The organization's trails are the management account's."
  }
}

run "where_all_is_recorded" {
  command = plan

  variables {
    region = "us-east-1"
  }

  assert {
    condition     = length(module.management_global_forwarder) == 0
    error_message = "One Region gets one forwarder."
  }
}

run "refuses_to_miss_the_calls_to_organizations" {
  command = plan

  variables {
    regions = ["eu-west-1"]
  }

  expect_failures = [var.regions]
}

run "direct_alert" {
  command = plan

  variables {
    direct_alert = {
      slack_channel              = "C0123456789"
      slack_bot_token_secret_arn = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:trailkeeper/slack-bot-AbCdEf"
      slack_bot_token_version_id = "00000000-0000-0000-0000-000000000000"
    }
  }

  assert {
    condition     = length(module.direct_alert) == 1
    error_message = "The direct alert is on when asked for."
  }
}
