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
  target          = aws_cloudwatch_log_group.worker
  override_during = plan
  values          = { arn = "arn:aws:logs:eu-west-1:111122223333:log-group:/ecs/trailkeeper" }
}

override_resource {
  target          = aws_ssm_parameter.policy
  override_during = plan
  values          = { arn = "arn:aws:ssm:eu-west-1:111122223333:parameter/trailkeeper/policy" }
}

override_resource {
  target          = aws_secretsmanager_secret.policy
  override_during = plan
  values          = { arn = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:trailkeeper-policy-AbCdEf" }
}

override_resource {
  target          = aws_secretsmanager_secret_version.policy
  override_during = plan
  values = {
    arn        = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:trailkeeper-policy-AbCdEf"
    version_id = "00000000-0000-0000-0000-000000000000"
  }
}

variables {
  queue = {
    name = "trailkeeper"
    arn  = "arn:aws:sqs:eu-west-1:111122223333:trailkeeper"
    url  = "https://sqs.eu-west-1.amazonaws.com/111122223333/trailkeeper"
  }
  dead_letter_queue        = { arn = "arn:aws:sqs:eu-west-1:111122223333:trailkeeper-dlq" }
  state_table              = { name = "trailkeeper", arn = "arn:aws:dynamodb:eu-west-1:111122223333:table/trailkeeper" }
  slack_webhook_secret_arn = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:trailkeeper/slack-webhook-AbCdEf"
  image                    = "111122223333.dkr.ecr.eu-west-1.amazonaws.com/team/trailkeeper:1.0.0"
  vpc_id                   = "vpc-0123456789abcdef0"
  subnet_ids               = ["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"]
}

run "task_role" {
  command = plan

  assert {
    condition = jsondecode(aws_iam_role_policy.task.policy).Statement == [
      {
        Sid      = "Consume"
        Effect   = "Allow"
        Action   = ["sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:ReceiveMessage", "sqs:GetQueueAttributes"]
        Resource = "arn:aws:sqs:eu-west-1:111122223333:trailkeeper"
      },
      {
        Sid      = "BuryPoison"
        Effect   = "Allow"
        Action   = "sqs:SendMessage"
        Resource = "arn:aws:sqs:eu-west-1:111122223333:trailkeeper-dlq"
      },
      {
        Sid      = "ClaimEvents"
        Effect   = "Allow"
        Action   = "dynamodb:UpdateItem"
        Resource = "arn:aws:dynamodb:eu-west-1:111122223333:table/trailkeeper"
      },
      {
        Sid      = "CheckDeadLetterQueue"
        Effect   = "Allow"
        Action   = "sqs:GetQueueAttributes"
        Resource = "arn:aws:sqs:eu-west-1:111122223333:trailkeeper-dlq"
      },
      {
        Sid      = "CheckStateTable"
        Effect   = "Allow"
        Action   = ["dynamodb:DescribeTable", "dynamodb:DescribeTimeToLive"]
        Resource = "arn:aws:dynamodb:eu-west-1:111122223333:table/trailkeeper"
      },
      {
        Sid      = "ProtectOwnTasks"
        Effect   = "Allow"
        Action   = "ecs:UpdateTaskProtection"
        Resource = "arn:aws:ecs:eu-west-1:111122223333:task/trailkeeper/*"
      },
      {
        Sid      = "ReadRecords"
        Effect   = "Allow"
        Action   = "dynamodb:BatchGetItem"
        Resource = "arn:aws:dynamodb:eu-west-1:111122223333:table/trailkeeper"
      },
      {
        Sid      = "LookAtTrails"
        Effect   = "Allow"
        Action   = ["cloudtrail:GetEventSelectors", "cloudtrail:GetTrailStatus"]
        Resource = ["arn:aws:cloudtrail:*:111122223333:trail/*"]
      },
      {
        Sid      = "FindTrails"
        Effect   = "Allow"
        Action   = "cloudtrail:DescribeTrails"
        Resource = "*"
      },
      {
        Sid      = "SweepTrails"
        Effect   = "Allow"
        Action   = ["cloudtrail:ListTrails", "cloudtrail:LookupEvents"]
        Resource = "*"
      },
      {
        Sid      = "SendLooks"
        Effect   = "Allow"
        Action   = "sqs:SendMessage"
        Resource = "arn:aws:sqs:eu-west-1:111122223333:trailkeeper"
      },
      {
        Sid      = "RestartTrails"
        Effect   = "Allow"
        Action   = "cloudtrail:StartLogging"
        Resource = ["arn:aws:cloudtrail:*:111122223333:trail/*"]
      },
    ]
    error_message = "The task role lets the worker do this and nothing else."
  }
}

run "operators" {
  command = plan

  variables {
    mode = "notify" # People start trails by hand in each mode.
  }

  assert {
    condition = jsondecode(aws_iam_policy.operators.policy).Statement == [
      {
        Sid      = "ReadDeadLetters"
        Effect   = "Allow"
        Action   = ["sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"]
        Resource = "arn:aws:sqs:eu-west-1:111122223333:trailkeeper-dlq"
      },
      {
        Sid      = "SendEvents"
        Effect   = "Allow"
        Action   = ["sqs:GetQueueAttributes", "sqs:SendMessage"]
        Resource = "arn:aws:sqs:eu-west-1:111122223333:trailkeeper"
      },
      {
        Sid      = "CheckStateTable"
        Effect   = "Allow"
        Action   = ["dynamodb:DescribeTable", "dynamodb:DescribeTimeToLive", "dynamodb:UpdateItem"]
        Resource = "arn:aws:dynamodb:eu-west-1:111122223333:table/trailkeeper"
      },
      {
        Sid      = "ReadRecords"
        Effect   = "Allow"
        Action   = "dynamodb:BatchGetItem"
        Resource = "arn:aws:dynamodb:eu-west-1:111122223333:table/trailkeeper"
      },
      {
        Sid      = "SweepTrails"
        Effect   = "Allow"
        Action   = ["cloudtrail:ListTrails", "cloudtrail:LookupEvents"]
        Resource = "*"
      },
      {
        Sid      = "LookAtTrails"
        Effect   = "Allow"
        Action   = ["cloudtrail:GetEventSelectors", "cloudtrail:GetTrailStatus"]
        Resource = ["arn:aws:cloudtrail:*:111122223333:trail/*"]
      },
      {
        Sid      = "FindTrails"
        Effect   = "Allow"
        Action   = "cloudtrail:DescribeTrails"
        Resource = "*"
      },
      {
        Sid      = "RestartTrails"
        Effect   = "Allow"
        Action   = "cloudtrail:StartLogging"
        Resource = ["arn:aws:cloudtrail:*:111122223333:trail/*"]
      },
    ]
    error_message = "The policy for people lets them run trailkeeper's commands and start trails, and nothing else."
  }
}

run "execution_role" {
  command = plan

  assert {
    condition = jsondecode(aws_iam_role_policy.execution.policy).Statement == [
      {
        Sid      = "LogInToRegistry"
        Effect   = "Allow"
        Action   = "ecr:GetAuthorizationToken"
        Resource = "*"
      },
      {
        Sid      = "Pull"
        Effect   = "Allow"
        Action   = ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
        Resource = "arn:aws:ecr:eu-west-1:111122223333:repository/team/trailkeeper"
      },
      {
        Sid      = "WriteLogs"
        Effect   = "Allow"
        Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
        Resource = "arn:aws:logs:eu-west-1:111122223333:log-group:/ecs/trailkeeper:log-stream:*"
      },
      {
        Sid      = "ReadWebhook"
        Effect   = "Allow"
        Action   = "secretsmanager:GetSecretValue"
        Resource = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:trailkeeper/slack-webhook-AbCdEf"
      },
    ]
    error_message = "ECS may pull one repository, write to one log group and read one secret."
  }
}

run "who_may_take_the_roles" {
  command = plan

  assert {
    condition = alltrue([for role in [aws_iam_role.task, aws_iam_role.execution] : jsondecode(role.assume_role_policy).Statement == [{
      Effect    = "Allow"
      Principal = { Service = "ecs-tasks.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = {
        StringEquals = { "aws:SourceAccount" = "111122223333" }
        ArnLike      = { "aws:SourceArn" = "arn:aws:ecs:eu-west-1:111122223333:*" }
      }
    }]])
    error_message = "ECS alone, for tasks of this account and Region."
  }
}

run "no_right_to_restart_unless_it_restarts" {
  command = plan

  variables {
    mode = "notify"
  }

  assert {
    condition = [for statement in jsondecode(aws_iam_role_policy.task.policy).Statement : statement.Sid] == [
      "Consume", "BuryPoison", "ClaimEvents", "CheckDeadLetterQueue", "CheckStateTable", "ProtectOwnTasks", "ReadRecords", "LookAtTrails",
      "FindTrails", "SweepTrails", "SendLooks",
    ]
    error_message = "A worker that only notifies looks at trails, in sweeps too, and starts none."
  }

  assert {
    condition     = output.sweep_interval_seconds == 300
    error_message = "It makes sweeps."
  }
}

run "no_right_to_trails_in_a_dry_run" {
  command = plan

  variables {
    mode = "dry-run"
  }

  assert {
    condition     = !strcontains(aws_iam_role_policy.task.policy, "cloudtrail:")
    error_message = "A worker that does neither needs nothing of CloudTrail."
  }

  assert {
    condition = [for statement in jsondecode(aws_iam_role_policy.task.policy).Statement : statement.Sid] == [
      "Consume", "BuryPoison", "ClaimEvents", "CheckDeadLetterQueue", "CheckStateTable", "ProtectOwnTasks",
    ]
    error_message = "It reads no records, and sends nothing to its queue."
  }

  assert {
    condition     = output.sweep_interval_seconds == 0
    error_message = "It makes no sweep, so that none is missed."
  }
}

run "no_right_to_sweep_without_sweeps" {
  command = plan

  variables {
    sweep_interval_seconds = 0
  }

  assert {
    condition = [for statement in jsondecode(aws_iam_role_policy.task.policy).Statement : statement.Sid] == [
      "Consume", "BuryPoison", "ClaimEvents", "CheckDeadLetterQueue", "CheckStateTable", "ProtectOwnTasks", "ReadRecords", "LookAtTrails",
      "FindTrails", "RestartTrails",
    ]
    error_message = "A worker without sweeps lists no trails, and sends nothing to its queue."
  }

  assert {
    condition     = output.environment.TRAILKEEPER_SWEEP_INTERVAL_SECONDS == "0" && output.sweep_interval_seconds == 0
    error_message = "It is told to make none, and none is missed."
  }
}

run "sweeps_as_often_as_said" {
  command = plan

  variables {
    sweep_interval_seconds = 86400
  }

  assert {
    condition     = output.environment.TRAILKEEPER_SWEEP_INTERVAL_SECONDS == "86400" && output.sweep_interval_seconds == 86400
    error_message = "The longest interval."
  }
}

run "sweeps_as_often_as_can_be" {
  command = plan

  variables {
    sweep_interval_seconds = 10
  }

  assert {
    condition     = output.environment.TRAILKEEPER_SWEEP_INTERVAL_SECONDS == "10" && output.sweep_interval_seconds == 10
    error_message = "The shortest interval."
  }
}

run "trails_of_the_organization" {
  command = plan

  variables {
    organization_trail_arns = ["arn:aws:cloudtrail:us-east-1:999999999999:trail/organization"]
  }

  assert {
    condition = alltrue([for policy in [aws_iam_role_policy.task.policy, aws_iam_policy.operators.policy] : {
      for statement in jsondecode(policy).Statement : statement.Sid => statement.Resource if contains(["LookAtTrails", "RestartTrails"], statement.Sid)
      } == {
      LookAtTrails  = ["arn:aws:cloudtrail:*:111122223333:trail/*", "arn:aws:cloudtrail:us-east-1:999999999999:trail/organization"]
      RestartTrails = ["arn:aws:cloudtrail:*:111122223333:trail/*", "arn:aws:cloudtrail:us-east-1:999999999999:trail/organization"]
    }])
    error_message = "The organization's trails are looked at and restarted by whole ARN, and no other trail of the management account."
  }
}

run "member_accounts_when_asked_for" {
  command = plan

  variables {
    mode        = "notify" # It looks there, too.
    member_role = { name = "trailkeeper-member", external_id = "trailkeeper" }
  }

  assert {
    condition = alltrue([for policy in [aws_iam_role_policy.task.policy, aws_iam_policy.operators.policy] :
      [for statement in jsondecode(policy).Statement : statement if statement.Action == "sts:AssumeRole"] == [{
        Sid       = "ActInMemberAccounts"
        Effect    = "Allow"
        Action    = "sts:AssumeRole"
        Resource  = "arn:aws:iam::*:role/trailkeeper-member"
        Condition = { StringEquals = { "aws:ResourceOrgID" = "$${aws:PrincipalOrgID}" } }
      }]
    ])
    error_message = "One role name, in the organization's accounts alone."
  }

  assert {
    condition = {
      for variable in jsondecode(aws_ecs_task_definition.worker.container_definitions)[0].environment : variable.name => variable.value
      if contains(["TRAILKEEPER_MEMBER_ROLE", "TRAILKEEPER_EXTERNAL_ID"], variable.name)
    } == { TRAILKEEPER_MEMBER_ROLE = "trailkeeper-member", TRAILKEEPER_EXTERNAL_ID = "trailkeeper" }
    error_message = "The worker takes that role, and gives the external id."
  }
}

run "no_member_accounts_in_a_dry_run" {
  command = plan

  variables {
    mode        = "dry-run"
    member_role = { name = "trailkeeper-member", external_id = "trailkeeper" }
  }

  assert {
    condition     = !strcontains(aws_iam_role_policy.task.policy, "sts:")
    error_message = "A worker that does neither takes no role."
  }

  assert {
    condition     = length(setintersection(keys(local.environment), ["TRAILKEEPER_MEMBER_ROLE", "TRAILKEEPER_EXTERNAL_ID"])) == 0
    error_message = "And knows of none."
  }
}

run "accounts_are_listed_when_asked_for" {
  command = plan

  variables {
    mode          = "dry-run" # What it would do depends on the account.
    list_accounts = true
  }

  assert {
    condition = alltrue([for policy in [aws_iam_role_policy.task.policy, aws_iam_policy.operators.policy] :
      [for statement in jsondecode(policy).Statement : statement if statement.Sid == "ListAccounts"] == [{
        Sid      = "ListAccounts"
        Effect   = "Allow"
        Action   = "organizations:ListAccounts"
        Resource = "*"
      }]
    ])
    error_message = "The worker and the check may ask which accounts there are."
  }
}

run "another_registry_needs_no_right" {
  command = plan

  variables {
    image = "ghcr.io/example/trailkeeper:1.0.0"
  }

  assert {
    condition     = [for statement in jsondecode(aws_iam_role_policy.execution.policy).Statement : statement.Sid] == ["WriteLogs", "ReadWebhook"]
    error_message = "A public image is pulled without rights."
  }
}

run "task" {
  command = plan

  assert {
    condition = { for variable in jsondecode(aws_ecs_task_definition.worker.container_definitions)[0].environment : variable.name => variable.value } == {
      AWS_REGION                         = "eu-west-1"
      TRAILKEEPER_NAME                   = "trailkeeper"
      TRAILKEEPER_QUEUE_URL              = "https://sqs.eu-west-1.amazonaws.com/111122223333/trailkeeper"
      TRAILKEEPER_STATE_TABLE            = "trailkeeper"
      TRAILKEEPER_MODE                   = "restore"
      TRAILKEEPER_SWEEP_INTERVAL_SECONDS = "300"
      TRAILKEEPER_METRICS                = "emf"
      TRAILKEEPER_TASK_PROTECTION        = "on"
    }
    error_message = "The worker gets these variables."
  }

  assert {
    condition = jsondecode(aws_ecs_task_definition.worker.container_definitions)[0].secrets == [{
      name      = "TRAILKEEPER_SLACK_WEBHOOK_URL"
      valueFrom = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:trailkeeper/slack-webhook-AbCdEf"
    }]
    error_message = "The webhook is named, never held."
  }

  assert {
    condition = alltrue([for container in jsondecode(aws_ecs_task_definition.worker.container_definitions) : alltrue([
      container.readonlyRootFilesystem,
      container.user == "nonroot",
      container.linuxParameters.capabilities.drop == ["ALL"],
      container.stopTimeout == 120,
      container.healthCheck.command == ["CMD", "/trailkeeper", "healthcheck"],
    ])])
    error_message = "Read-only, not root, without capabilities, with time to drain and a check that needs no shell."
  }

  assert {
    condition     = aws_ecs_task_definition.worker.runtime_platform[0].cpu_architecture == "ARM64"
    error_message = "ARM64 unless said otherwise."
  }

  assert {
    condition     = aws_ecs_task_definition.worker.skip_destroy
    error_message = "The revision before stays active, so that one can go back to it: docs/runbook.md, A bad deploy."
  }
}

run "no_policy" {
  command = plan

  assert {
    condition     = length(aws_ssm_parameter.policy) + length(aws_secretsmanager_secret.policy) + length(aws_secretsmanager_secret_version.policy) == 0
    error_message = "Without a policy there is no place for one."
  }

  assert {
    condition     = !contains(keys(jsondecode(aws_ecs_task_definition.worker.container_definitions)[0]), "dockerLabels")
    error_message = "And no label for it."
  }
}

run "policy" {
  command = plan

  variables {
    policy = "version = 1\n"
  }

  assert {
    condition = [for parameter in aws_ssm_parameter.policy : [parameter.name, parameter.type, parameter.tier, parameter.insecure_value]] == [
      ["/trailkeeper/policy", "String", "Standard", "version = 1\n"],
    ] && length(aws_secretsmanager_secret.policy) == 0
    error_message = "A short policy is a parameter, unchanged."
  }

  assert {
    condition = { for secret in jsondecode(aws_ecs_task_definition.worker.container_definitions)[0].secrets : secret.name => secret.valueFrom } == {
      TRAILKEEPER_SLACK_WEBHOOK_URL = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:trailkeeper/slack-webhook-AbCdEf"
      TRAILKEEPER_POLICY_TOML       = "arn:aws:ssm:eu-west-1:111122223333:parameter/trailkeeper/policy"
    }
    error_message = "ECS reads it from there."
  }

  assert {
    condition     = jsondecode(aws_ecs_task_definition.worker.container_definitions)[0].dockerLabels == { "trailkeeper.policy-sha256" = "dbab12665d98aef021ba64953c61b0ed8a908cfb56a1c01e2fcb4b052b71a2a1" }
    error_message = "Another policy is another task definition."
  }

  assert {
    condition = [for statement in jsondecode(aws_iam_role_policy.execution.policy).Statement : statement if statement.Sid == "ReadPolicy"] == [{
      Sid      = "ReadPolicy"
      Effect   = "Allow"
      Action   = "ssm:GetParameters"
      Resource = "arn:aws:ssm:eu-west-1:111122223333:parameter/trailkeeper/policy"
    }]
    error_message = "ECS may read that parameter."
  }

  assert {
    condition     = !strcontains(aws_iam_role_policy.task.policy, "ssm:")
    error_message = "The worker itself may not."
  }
}

# The letter ä has two bytes.
run "policy_of_4096_bytes" {
  command = plan

  variables {
    policy = replace(format("%2048s", ""), " ", "ä")
  }

  assert {
    condition     = aws_ssm_parameter.policy[0].tier == "Standard"
    error_message = "The longest that is free."
  }
}

run "policy_of_4097_bytes" {
  command = plan

  variables {
    policy = "x${replace(format("%2048s", ""), " ", "ä")}"
  }

  assert {
    condition     = aws_ssm_parameter.policy[0].tier == "Advanced"
    error_message = "A standard parameter would not take it."
  }
}

run "policy_of_8192_bytes" {
  command = plan

  variables {
    policy = replace(format("%4096s", ""), " ", "ä")
  }

  assert {
    condition     = aws_ssm_parameter.policy[0].tier == "Advanced" && length(aws_secretsmanager_secret.policy) == 0
    error_message = "The longest parameter."
  }
}

run "policy_of_8193_bytes" {
  command = plan

  variables {
    policy = "x${replace(format("%4096s", ""), " ", "ä")}"
  }

  assert {
    condition     = length(aws_ssm_parameter.policy) == 0 && aws_secretsmanager_secret_version.policy[0].secret_string == var.policy
    error_message = "No parameter would take it: it is a secret, unchanged."
  }

  assert {
    condition = { for secret in jsondecode(aws_ecs_task_definition.worker.container_definitions)[0].secrets : secret.name => secret.valueFrom } == {
      TRAILKEEPER_SLACK_WEBHOOK_URL = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:trailkeeper/slack-webhook-AbCdEf"
      TRAILKEEPER_POLICY_TOML       = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:trailkeeper-policy-AbCdEf:::00000000-0000-0000-0000-000000000000"
    }
    error_message = "ECS reads this version of it."
  }

  assert {
    condition = [for statement in jsondecode(aws_iam_role_policy.execution.policy).Statement : statement if statement.Sid == "ReadPolicy"] == [{
      Sid      = "ReadPolicy"
      Effect   = "Allow"
      Action   = "secretsmanager:GetSecretValue"
      Resource = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:trailkeeper-policy-AbCdEf"
    }]
    error_message = "ECS may read that secret, by the ARN that IAM knows."
  }
}

run "policy_of_65536_bytes" {
  command = plan

  variables {
    policy = replace(format("%32768s", ""), " ", "ä")
  }

  assert {
    condition     = length(aws_secretsmanager_secret_version.policy) == 1
    error_message = "The longest secret."
  }
}

run "refuses_a_policy_of_65537_bytes" {
  command = plan

  variables {
    policy = "x${replace(format("%32768s", ""), " ", "ä")}"
  }

  expect_failures = [var.policy]
}

run "refuses_an_empty_policy" {
  command = plan

  variables {
    policy = "\n"
  }

  expect_failures = [var.policy]
}

run "service" {
  command = plan

  assert {
    condition = [for strategy in aws_ecs_service.worker.capacity_provider_strategy : strategy if strategy.capacity_provider == "FARGATE"][0].base == 1 && (
      sort([for strategy in aws_ecs_service.worker.capacity_provider_strategy : "${strategy.capacity_provider} ${strategy.weight}"]) == tolist(["FARGATE 0", "FARGATE_SPOT 1"])
    )
    error_message = "One task on demand, the others on Spot."
  }

  assert {
    condition = alltrue([
      aws_ecs_service.worker.desired_count == 2,
      !aws_ecs_service.worker.network_configuration[0].assign_public_ip,
      aws_ecs_service.worker.deployment_circuit_breaker[0].rollback,
      aws_ecs_service.worker.deployment_minimum_healthy_percent == 100,
      aws_ecs_service.worker.availability_zone_rebalancing == "ENABLED",
    ])
    error_message = "Two tasks in private subnets, spread over zones, and deploys that undo themselves."
  }

  assert {
    condition = alltrue([
      aws_vpc_security_group_egress_rule.https.from_port == 443,
      aws_vpc_security_group_egress_rule.https.to_port == 443,
      aws_vpc_security_group_egress_rule.https.ip_protocol == "tcp",
    ])
    error_message = "HTTPS is the way out."
  }
}

run "scaling" {
  command = plan

  variables {
    acceptable_delay_seconds = 90
    processing_seconds       = 3
    environment              = { TRAILKEEPER_CONCURRENCY = "10" }
    max_tasks                = 5
  }

  assert {
    condition     = aws_appautoscaling_policy.backlog.target_tracking_scaling_policy_configuration[0].target_value == 300
    error_message = "A task works off 90 s / 3 s × 10 messages within the delay."
  }

  assert {
    condition     = aws_appautoscaling_target.worker.min_capacity == 2 && aws_appautoscaling_target.worker.max_capacity == 5
    error_message = "Between the least and the most."
  }

  assert {
    condition = {
      for metric in aws_appautoscaling_policy.backlog.target_tracking_scaling_policy_configuration[0].customized_metric_specification[0].metrics :
      metric.id => try("${one(metric.metric_stat).stat} ${one(one(metric.metric_stat).metric).namespace} ${one(one(metric.metric_stat).metric).metric_name}", metric.expression)
      } == {
      visible          = "Average AWS/SQS ApproximateNumberOfMessagesVisible"
      hidden           = "Average AWS/SQS ApproximateNumberOfMessagesNotVisible"
      running          = "SampleCount AWS/ECS CPUUtilization"
      backlog_per_task = "(FILL(visible, REPEAT) + FILL(hidden, REPEAT)) / FILL(running, REPEAT)"
    }
    error_message = "The policy tracks the backlog of each running task."
  }
}

run "no_repository_unless_asked_for" {
  command = plan

  assert {
    condition     = length(aws_ecr_repository.worker) == 0 && output.repository_url == null
    error_message = "A repository costs money: only when asked for."
  }
}

run "repository" {
  command = plan

  variables {
    create_repository = true
  }

  assert {
    condition     = aws_ecr_repository.worker[0].image_tag_mutability == "IMMUTABLE" && aws_ecr_repository.worker[0].image_scanning_configuration[0].scan_on_push
    error_message = "Tags stay, and images are scanned."
  }
}

run "refuses_what_cannot_work" {
  command = plan

  variables {
    name                     = "-trailkeeper"
    slack_webhook_secret_arn = "https://hooks.slack.com/services/T000/B000/secret"
    image                    = "trailkeeper:latest"
    architecture             = "arm"
    vpc_id                   = "10.0.0.0/16"
    subnet_ids               = ["subnet-0123456789abcdef0", "subnet-0123456789abcdef0"]
    member_role              = { name = "arn:aws:iam::111122223333:role/trailkeeper-member", external_id = "trailkeeper" }
    mode                     = "dry"
    organization_trail_arns  = ["arn:aws:cloudtrail:us-east-1:999999999999:trail/*"]
    environment              = { TRAILKEEPER_SLACK_WEBHOOK_URL = "https://hooks.slack.com/services/T000/B000/secret" }
    sweep_interval_seconds   = 9
    min_tasks                = 0
    acceptable_delay_seconds = 0
    processing_seconds       = 0
    log_retention_days       = 42
  }

  expect_failures = [
    var.name, var.slack_webhook_secret_arn, var.image, var.architecture, var.vpc_id, var.subnet_ids,
    var.member_role, var.mode, var.organization_trail_arns, var.environment, var.sweep_interval_seconds, var.min_tasks, var.acceptable_delay_seconds, var.processing_seconds, var.log_retention_days,
  ]
}

run "refuses_what_the_module_sets_itself" {
  command = plan

  variables {
    environment = { TRAILKEEPER_POLICY_TOML = "version = 1" }
  }

  expect_failures = [var.environment]
}

run "refuses_an_interval_beside_its_input" {
  command = plan

  variables {
    environment = { TRAILKEEPER_SWEEP_INTERVAL_SECONDS = "900" }
  }

  expect_failures = [var.environment]
}

run "refuses_an_interval_above_a_day" {
  command = plan

  variables {
    sweep_interval_seconds = 86401
  }

  expect_failures = [var.sweep_interval_seconds]
}

run "refuses_half_a_second" {
  command = plan

  variables {
    sweep_interval_seconds = 300.5
  }

  expect_failures = [var.sweep_interval_seconds]
}

run "refuses_an_external_id_that_is_too_short" {
  command = plan

  variables {
    member_role = { name = "trailkeeper-member", external_id = "t" }
  }

  expect_failures = [var.member_role]
}

run "refuses_more_tasks_at_least_than_at_most" {
  command = plan

  variables {
    min_tasks = 7
  }

  expect_failures = [var.max_tasks]
}
