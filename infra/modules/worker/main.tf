data "aws_caller_identity" "here" {}
data "aws_partition" "here" {}
data "aws_region" "here" {}

locals {
  account   = data.aws_caller_identity.here.account_id
  partition = data.aws_partition.here.partition
  region    = data.aws_region.here.name
}

resource "aws_cloudwatch_log_group" "worker" {
  #checkov:skip=CKV_AWS_158:Nothing secret is logged, at any level; CloudWatch Logs encrypts with a key of its own.
  #checkov:skip=CKV_AWS_338:log_retention_days is the caller's to choose; who did what is in CloudTrail, and is kept there.

  name              = "/ecs/${var.name}"
  retention_in_days = var.log_retention_days
}

# A cluster of its own costs nothing.
resource "aws_ecs_cluster" "worker" {
  #checkov:skip=CKV_AWS_65:Container Insights costs, and no alarm here needs it.

  name = var.name
}

resource "aws_ecs_cluster_capacity_providers" "worker" {
  cluster_name       = aws_ecs_cluster.worker.name
  capacity_providers = ["FARGATE", "FARGATE_SPOT"]
}

resource "aws_ecs_task_definition" "worker" {
  family                   = var.name
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  # The smallest there is: the worker waits for the network nearly all of its life, and needs 24 MiB.
  cpu                = 256
  memory             = 512
  execution_role_arn = aws_iam_role.execution.arn
  task_role_arn      = aws_iam_role.task.arn
  # Otherwise each apply deregisters the revision before, and ECS takes no service back to a revision that is inactive.
  # They cost nothing; `terraform destroy` leaves them.
  skip_destroy = true

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = var.architecture
  }

  container_definitions = jsonencode([{
    name                   = "worker"
    image                  = var.image
    essential              = true
    user                   = "nonroot"
    readonlyRootFilesystem = true
    linuxParameters        = { capabilities = { drop = ["ALL"] } }

    # ECS goes by this, not by the image's HEALTHCHECK. In exec form, since the image has no shell.
    healthCheck = {
      command     = ["CMD", "/trailkeeper", "healthcheck"]
      interval    = 10
      timeout     = 5
      retries     = 3
      startPeriod = 30
    }

    # From SIGTERM to SIGKILL, the most that Fargate gives. The worker's own grace is 100 s.
    stopTimeout = 120

    environment = [for name, value in local.environment : { name = name, value = value }]
    # ECS reads them when a task starts. Neither the task definition nor Terraform's state ever holds the webhook.
    secrets = concat(
      [{ name = "TRAILKEEPER_SLACK_WEBHOOK_URL", valueFrom = var.slack_webhook_secret_arn }],
      [for value_from in local.policy_value_from : { name = "TRAILKEEPER_POLICY_TOML", valueFrom = value_from }],
    )
    # Another policy is another task definition, and so a deployment: a parameter's ARN stays the same.
    dockerLabels = var.policy == null ? null : { "trailkeeper.policy-sha256" = sha256(var.policy) }

    logConfiguration = {
      logDriver = "awslogs"
      options = {
        awslogs-group         = aws_cloudwatch_log_group.worker.name
        awslogs-region        = local.region
        awslogs-stream-prefix = "worker"
        # Otherwise a CloudWatch Logs that does not answer stops the worker at its next line.
        mode            = "non-blocking"
        max-buffer-size = "4m"
      }
    }
  }])
}

locals {
  member_role = var.member_role == null || var.mode == "dry-run" ? {} : {
    TRAILKEEPER_MEMBER_ROLE = var.member_role.name
    TRAILKEEPER_EXTERNAL_ID = var.member_role.external_id
  }
  # No TRAILKEEPER_DLQ_URL: the worker reads it from the queue's redrive policy.
  environment = merge(var.environment, local.member_role, {
    AWS_REGION              = local.region
    TRAILKEEPER_NAME        = var.name
    TRAILKEEPER_QUEUE_URL   = var.queue.url
    TRAILKEEPER_STATE_TABLE = var.state_table.name
    TRAILKEEPER_MODE        = var.mode
    # As text, like all variables: output environment is for those who run the worker elsewhere.
    TRAILKEEPER_SWEEP_INTERVAL_SECONDS = tostring(var.sweep_interval_seconds)
    # For the alarms. Four of its metrics are there all the time, and five of the sweep's, at $0.30 each a month; the
    # others cost by the hours in which they are seen.
    TRAILKEEPER_METRICS         = "emf"
    TRAILKEEPER_TASK_PROTECTION = "on"
  })
}

resource "aws_ecs_service" "worker" {
  name            = var.name
  cluster         = aws_ecs_cluster.worker.id
  task_definition = aws_ecs_task_definition.worker.arn
  desired_count   = var.min_tasks
  # The newest for Linux; ARM64 needs it.
  platform_version        = "1.4.0"
  enable_ecs_managed_tags = true
  propagate_tags          = "SERVICE"

  # One task that nobody takes away; Spot, at less than a third of the price, gives two minutes' notice, and the worker
  # gives back what it had.
  capacity_provider_strategy {
    capacity_provider = "FARGATE"
    base              = 1
    weight            = 0
  }

  capacity_provider_strategy {
    capacity_provider = "FARGATE_SPOT"
    weight            = 1
  }

  network_configuration {
    subnets          = var.subnet_ids
    security_groups  = [aws_security_group.worker.id]
    assign_public_ip = false
  }

  # New tasks first, and back to the old ones by itself if those do not become healthy.
  deployment_minimum_healthy_percent = 100
  deployment_maximum_percent         = 200
  availability_zone_rebalancing      = "ENABLED"

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  lifecycle {
    # The scaling's.
    ignore_changes = [desired_count]
  }

  # A task that starts before its rights are there fails, and so does a cluster that loses its capacity first.
  depends_on = [aws_ecs_cluster_capacity_providers.worker, aws_iam_role_policy.execution, aws_iam_role_policy.task]
}

# The worker calls out and is never called: no ingress at all. /metrics is for other platforms; here it is EMF.
resource "aws_security_group" "worker" {
  name        = var.name
  description = "trailkeeper: out to AWS and Slack, nothing in"
  vpc_id      = var.vpc_id
}

resource "aws_vpc_security_group_egress_rule" "https" {
  security_group_id = aws_security_group.worker.id
  description       = "AWS and Slack, neither of which has fixed addresses"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  cidr_ipv4         = "0.0.0.0/0"
}
