# Two roles: ECS starts tasks with the one, and the worker works with the other.

locals {
  ecs_tasks = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "ecs-tasks.amazonaws.com" }
      Action    = "sts:AssumeRole"
      # Tasks of this account alone.
      Condition = {
        StringEquals = { "aws:SourceAccount" = local.account }
        ArnLike      = { "aws:SourceArn" = "arn:${local.partition}:ecs:${local.region}:${local.account}:*" }
      }
    }]
  })

  # For "account.dkr.ecr.region.amazonaws.com/repository:tag", and nothing for any other registry.
  ecr = regexall("^(?P<account>[0-9]{12})\\.dkr\\.ecr\\.(?P<region>[a-z0-9-]+)\\.[a-z.]+/(?P<repository>[^:@]+)", var.image)
  pull = flatten([for ecr in local.ecr : [
    {
      Sid      = "LogInToRegistry"
      Effect   = "Allow"
      Action   = "ecr:GetAuthorizationToken"
      Resource = "*" # IAM accepts only `*` as its resource.
    },
    {
      Sid      = "Pull"
      Effect   = "Allow"
      Action   = ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
      Resource = "arn:${local.partition}:ecr:${ecr.region}:${ecr.account}:repository/${ecr.repository}"
    },
  ]])

  # An organization's trails are the management account's, and anybody else must name them by whole ARN.
  trails = concat(["arn:${local.partition}:cloudtrail:*:${local.account}:trail/*"], var.organization_trail_arns)
  look_at_trails = [
    {
      Sid      = "LookAtTrails"
      Effect   = "Allow"
      Action   = ["cloudtrail:GetEventSelectors", "cloudtrail:GetTrailStatus"]
      Resource = local.trails
    },
    {
      Sid      = "FindTrails"
      Effect   = "Allow"
      Action   = "cloudtrail:DescribeTrails"
      Resource = "*" # IAM accepts only `*` as its resource.
    },
  ]
  restart_trails = [{
    Sid      = "RestartTrails"
    Effect   = "Allow"
    Action   = "cloudtrail:StartLogging"
    Resource = local.trails
  }]
  # What is known of each trail, so that an event and the sweep do not both report one stop. Written by UpdateItem, as claims are.
  read_records = [{
    Sid      = "ReadRecords"
    Effect   = "Allow"
    Action   = "dynamodb:BatchGetItem"
    Resource = var.state_table.arn
  }]
  # Which trails there are, and who stopped one of which no event told.
  sweep_trails = [{
    Sid      = "SweepTrails"
    Effect   = "Allow"
    Action   = ["cloudtrail:ListTrails", "cloudtrail:LookupEvents"]
    Resource = "*" # IAM accepts only `*` as their resource.
  }]
  sweep = concat(local.sweep_trails, [
    {
      # What differs from its record is looked at by way of the queue. SQS itself encrypts it: no right to a key is needed.
      Sid      = "SendLooks"
      Effect   = "Allow"
      Action   = "sqs:SendMessage"
      Resource = var.queue.arn
    },
  ])
  # A worker in dry-run looks at nothing, so it makes no sweep.
  sweep_interval_seconds = var.mode == "dry-run" ? 0 : var.sweep_interval_seconds
  # A worker that only notifies looks first, so that it reports what is true.
  by_mode = concat(
    [for statement in local.read_records : statement if var.mode != "dry-run"],
    [for statement in local.look_at_trails : statement if var.mode != "dry-run"],
    [for statement in local.sweep : statement if local.sweep_interval_seconds > 0],
    [for statement in local.restart_trails : statement if var.mode == "restore"],
    [for statement in local.act_in_member_accounts : statement if var.mode != "dry-run"],
  )

  act_in_member_accounts = [for role in var.member_role[*] : {
    Sid      = "ActInMemberAccounts"
    Effect   = "Allow"
    Action   = "sts:AssumeRole"
    Resource = "arn:${local.partition}:iam::*:role/${role.name}"
    # A role of that name in somebody else's account is not ours.
    Condition = { StringEquals = { "aws:ResourceOrgID" = "$${aws:PrincipalOrgID}" } }
  }]

  list_accounts = [for statement in [{
    Sid      = "ListAccounts"
    Effect   = "Allow"
    Action   = "organizations:ListAccounts"
    Resource = "*" # IAM accepts only `*` as its resource.
  }] : statement if var.list_accounts]
}

resource "aws_iam_role" "execution" {
  name               = "${var.name}-execution"
  description        = "ECS starts trailkeeper's tasks with it"
  assume_role_policy = local.ecs_tasks
}

resource "aws_iam_role_policy" "execution" {
  name = "start-tasks"
  role = aws_iam_role.execution.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(local.pull, [
      {
        Sid      = "WriteLogs"
        Effect   = "Allow"
        Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
        Resource = "${aws_cloudwatch_log_group.worker.arn}:log-stream:*"
      },
      {
        Sid      = "ReadWebhook"
        Effect   = "Allow"
        Action   = "secretsmanager:GetSecretValue"
        Resource = var.slack_webhook_secret_arn
      },
    ], local.read_policy)
  })
}

resource "aws_iam_role" "task" {
  name               = "${var.name}-task"
  description        = "trailkeeper works with it"
  assume_role_policy = local.ecs_tasks
}

# What the worker calls, and `trailkeeper check` when it is run as a task with this role, and nothing else. Reading dead
# letters and putting them back is for people: see operators.tf.
resource "aws_iam_role_policy" "task" {
  name = "work"
  role = aws_iam_role.task.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat([
      {
        Sid    = "Consume"
        Effect = "Allow"
        Action = [
          "sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:ReceiveMessage",
          "sqs:GetQueueAttributes", # The redrive policy, at start.
        ]
        Resource = var.queue.arn
      },
      {
        Sid      = "BuryPoison"
        Effect   = "Allow"
        Action   = "sqs:SendMessage"
        Resource = var.dead_letter_queue.arn
      },
      {
        Sid      = "ClaimEvents"
        Effect   = "Allow"
        Action   = "dynamodb:UpdateItem"
        Resource = var.state_table.arn
      },
      {
        Sid      = "CheckDeadLetterQueue"
        Effect   = "Allow"
        Action   = "sqs:GetQueueAttributes"
        Resource = var.dead_letter_queue.arn
      },
      {
        Sid      = "CheckStateTable"
        Effect   = "Allow"
        Action   = ["dynamodb:DescribeTable", "dynamodb:DescribeTimeToLive"]
        Resource = var.state_table.arn
      },
      {
        # The worker asks the ECS agent, and the agent asks ECS with this role.
        Sid      = "ProtectOwnTasks"
        Effect   = "Allow"
        Action   = "ecs:UpdateTaskProtection"
        Resource = "arn:${local.partition}:ecs:${local.region}:${local.account}:task/${var.name}/*"
      },
    ], local.by_mode, local.list_accounts)
  })
}
