data "aws_region" "here" {}

locals {
  # Each is a title and what it shows: [namespace, metric, dimension, value, …, how].
  widgets = [
    {
      title = "Trails restarted, and not"
      metrics = [for result in ["restored", "already_logging", "not_found", "refused", "failed"] :
      ["trailkeeper", "trailkeeper_restore_total", "deployment", var.name, "result", result, { stat = "Sum", label = result }]]
    },
    {
      title   = "Seconds from the event to logging verified"
      metrics = [for stat in ["p50", "Maximum"] : ["trailkeeper", "trailkeeper_time_to_restore_seconds", "deployment", var.name, { stat = stat, label = stat }]]
    },
    {
      title = "What became of messages"
      metrics = [for outcome in ["restored", "already_logging", "notified", "attempt", "ignored", "duplicate", "retried", "dead_lettered", "released"] :
      ["trailkeeper", "trailkeeper_messages_total", "deployment", var.name, "outcome", outcome, { stat = "Sum", label = outcome }]]
    },
    {
      title = "Slack's answers"
      metrics = [for result in ["ok", "rate_limited", "failed", "refused"] :
      ["trailkeeper", "trailkeeper_slack_posts_total", "deployment", var.name, "result", result, { stat = "Sum", label = result }]]
    },
    {
      title = "Queue"
      metrics = [
        ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", var.queue.name, { stat = "Maximum", label = "waiting" }],
        ["AWS/SQS", "ApproximateNumberOfMessagesNotVisible", "QueueName", var.queue.name, { stat = "Maximum", label = "being worked on" }],
        ["AWS/SQS", "ApproximateAgeOfOldestMessage", "QueueName", var.queue.name, { stat = "Maximum", label = "age of the oldest, s", yAxis = "right" }],
      ]
    },
    {
      title = "Dead letters"
      metrics = [
        ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", var.dead_letter_queue.name, { stat = "Maximum", label = "given up on" }],
        ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", var.undelivered_queue.name, { stat = "Maximum", label = "not delivered" }],
      ]
    },
    {
      title = "Tasks"
      metrics = [
        ["AWS/ECS", "CPUUtilization", "ClusterName", var.cluster_name, "ServiceName", var.service_name, { stat = "SampleCount", label = "running" }],
        ["AWS/ECS", "CPUUtilization", "ClusterName", var.cluster_name, "ServiceName", var.service_name, { stat = "Maximum", label = "CPU, %", yAxis = "right" }],
      ]
    },
    {
      title = "Rules"
      metrics = concat([for key, rule in var.rules : [for metric in ["MatchedEvents", "FailedInvocations"] :
        concat(["AWS/Events", metric], rule.bus == "default" ? [] : ["EventBusName", rule.bus], ["RuleName", rule.name, { stat = "Sum", label = "${metric}, ${key}" }])
      ]]...)
    },
    {
      title = "What sweeps saw"
      # A task goes on telling of trails what its own last sweep saw. The greatest never leaves out one that is stopped.
      metrics = concat(
        [for state in ["ok", "stopped", "undelivered"] :
        ["trailkeeper", "trailkeeper_sweep_trails", "deployment", var.name, "state", state, { stat = "Maximum", label = "trails, ${state}" }]],
        [for result in ["ok", "failed"] :
        ["trailkeeper", "trailkeeper_sweep_accounts", "deployment", var.name, "result", result, { stat = "Sum", label = "accounts, ${result}" }]],
      )
    },
    {
      title = "Sweeps"
      metrics = [
        ["trailkeeper", "trailkeeper_sweep_seconds", "deployment", var.name, { stat = "Maximum", label = "took, s" }],
        # The newest of all tasks.
        ["trailkeeper", "trailkeeper_sweep_finished_timestamp_seconds", "deployment", var.name, { stat = "Maximum", id = "finished", visible = false }],
        [{ expression = "EPOCH(finished) - finished", label = "since the last, s", yAxis = "right" }],
      ]
    },
  ]
}

# Free for the first three of an account, $3 a month after.
resource "aws_cloudwatch_dashboard" "worker" {
  dashboard_name = var.name
  dashboard_body = jsonencode({
    widgets = [for number, widget in local.widgets : {
      type   = "metric"
      width  = 12
      height = 6
      # Two side by side; the dashboard is 24 wide.
      x = number % 2 * 12
      y = floor(number / 2) * 6
      properties = {
        title   = widget.title
        metrics = widget.metrics
        region  = data.aws_region.here.name
        period  = 60
        view    = "timeSeries"
      }
    }]
  })
}
