# Thirteen alarms for pipeline's four rules on the default bus, one for each rule more and one for a member role, at $0.10 a
# month for each metric that they look at: $1.40 in all. Without sweeps it is one fewer.
# Each description ends with its place in the runbook, whose headings begin with trailkeeper, whatever var.name is.

locals {
  topic_arn = coalesce(var.alarm_topic_arn, one(aws_sns_topic.alarms[*].arn))

  queue_alarms = {
    dead-letters = {
      queue       = var.dead_letter_queue.name
      metric      = "ApproximateNumberOfMessagesVisible"
      above       = 0
      description = "trailkeeper gave up on an event. `trailkeeper dlq list` says why. Mend the cause, then put it back with `trailkeeper dlq redrive`."
    }
    undelivered = {
      queue       = var.undelivered_queue.name
      metric      = "ApproximateNumberOfMessagesVisible"
      above       = 0
      description = "EventBridge could not bring an event to the queue, or to Slack as a direct alert. Its attributes TARGET_ARN, ERROR_CODE and ERROR_MESSAGE say where and why. Mend the cause; send what was for the queue there again with `trailkeeper replay`."
    }
    backlog = {
      queue       = var.queue.name
      metric      = "ApproximateAgeOfOldestMessage"
      above       = 120
      description = "An event waits for more than two minutes: too few tasks, or tasks that stand still. One that a worker has taken three times no longer counts here, so an event that is tried again and again does not ring."
    }
  }

  # Two deployments in one account have metrics of their own.
  deployment = { deployment = var.name }

  # The worker's own, as embedded metrics in its log lines. Of what is counted, that which did not happen is not there at all.
  worker_alarms = {
    restore-refused = {
      metric      = "trailkeeper_restore_total"
      dimensions  = { result = "refused" }
      description = "A restart was refused, and trying again will not help. Slack names the trail, and `trailkeeper dlq list` says why. The alarm ends by itself; the trail stays as it is until somebody looks at it."
    }
    role-denied = {
      metric      = "trailkeeper_assume_role_total"
      dimensions  = { result = "denied" }
      description = "The worker may not take its role in an account: that account's trails are neither looked at nor restarted. The log says which account. The role is not there, does not trust the worker, or has another external id."
    }
    leases-lost = {
      metric      = "trailkeeper_leases_lost_total"
      dimensions  = {}
      description = "A message was lost to another task while worked on. No event is lost, but the table or SQS answers too slowly, or a task stands still."
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "queue" {
  for_each = local.queue_alarms

  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = "${each.value.description} See docs/runbook.md, trailkeeper-${each.key}."
  namespace           = "AWS/SQS"
  metric_name         = each.value.metric
  dimensions          = { QueueName = each.value.queue }
  statistic           = "Maximum"
  period              = 60
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = each.value.above
  # SQS goes silent about a queue that nobody has used for six hours; then there is nothing in it.
  treat_missing_data = "notBreaching"
  alarm_actions      = [local.topic_arn]
  ok_actions         = [local.topic_arn]
}

# A worker that is alive asks the queue three times a minute, and each answer counts as one of the two, whatever the
# reason that there is none: no task, no network, no right. Silence is the alarm.
resource "aws_cloudwatch_metric_alarm" "heartbeat" {
  alarm_name          = "${var.name}-heartbeat"
  alarm_description   = "Nobody has asked the queue for messages for three minutes: no trail is being restarted. Look at the service's events and the log group. See docs/runbook.md, trailkeeper-heartbeat."
  evaluation_periods  = 3
  comparison_operator = "LessThanThreshold"
  threshold           = 1
  treat_missing_data  = "breaching"
  alarm_actions       = [local.topic_arn]
  ok_actions          = [local.topic_arn]

  dynamic "metric_query" {
    for_each = { empty = "NumberOfEmptyReceives", received = "NumberOfMessagesReceived" }

    content {
      id = metric_query.key

      metric {
        namespace   = "AWS/SQS"
        metric_name = metric_query.value
        dimensions  = { QueueName = var.queue.name }
        stat        = "Sum"
        period      = 60
      }
    }
  }

  metric_query {
    id          = "receives"
    label       = "Answers to ReceiveMessage"
    expression  = "FILL(empty, 0) + FILL(received, 0)"
    return_data = true
  }
}

# Each running task reports its CPU once a minute: the number of samples is the number of tasks.
resource "aws_cloudwatch_metric_alarm" "tasks" {
  alarm_name          = "${var.name}-tasks"
  alarm_description   = "Fewer tasks are running than should be at least. Look at the service's events. See docs/runbook.md, trailkeeper-tasks."
  namespace           = "AWS/ECS"
  metric_name         = "CPUUtilization"
  dimensions          = { ClusterName = var.cluster_name, ServiceName = var.service_name }
  statistic           = "SampleCount"
  period              = 60
  evaluation_periods  = 5
  comparison_operator = "LessThanThreshold"
  threshold           = var.min_tasks
  treat_missing_data  = "breaching"
  alarm_actions       = [local.topic_arn]
  ok_actions          = [local.topic_arn]
}

resource "aws_cloudwatch_metric_alarm" "rule" {
  for_each = { for key, rule in var.rules : replace(key, "/", "-") => rule }

  alarm_name        = "${var.name}-rule-${each.key}"
  alarm_description = "The rule ${each.value.name} on the bus ${each.value.bus} could not reach a target: the queue's policy or its encryption, or, with the direct alert, Slack. See docs/runbook.md, trailkeeper-rule-default."
  namespace         = "AWS/Events"
  metric_name       = "FailedInvocations"
  # The default bus is not named in its metrics.
  dimensions          = merge({ RuleName = each.value.name }, each.value.bus == "default" ? {} : { EventBusName = each.value.bus })
  statistic           = "Sum"
  period              = 60
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"
  alarm_actions       = [local.topic_arn]
  ok_actions          = [local.topic_arn]
}

# Each task says once in ten seconds whether the state table does what it is asked for: one that says no is enough.
resource "aws_cloudwatch_metric_alarm" "state" {
  alarm_name          = "${var.name}-state-unavailable"
  alarm_description   = "The state table does not answer, is gone or denied. Trails that are off are restarted all the same, and messages may come twice. See docs/runbook.md, trailkeeper-state-unavailable."
  namespace           = "trailkeeper"
  metric_name         = "trailkeeper_state_available"
  dimensions          = local.deployment
  statistic           = "Minimum"
  period              = 60
  evaluation_periods  = 2
  comparison_operator = "LessThanThreshold"
  threshold           = 1
  # Without any task another alarm rings.
  treat_missing_data = "notBreaching"
  alarm_actions      = [local.topic_arn]
  ok_actions         = [local.topic_arn]
}

resource "aws_cloudwatch_metric_alarm" "worker" {
  for_each = { for key, alarm in local.worker_alarms : key => alarm if key != "role-denied" || var.member_role != null }

  alarm_name        = "${var.name}-${each.key}"
  alarm_description = "${each.value.description} See docs/runbook.md, trailkeeper-${each.key}."
  namespace         = "trailkeeper"
  metric_name       = each.value.metric
  dimensions        = merge(local.deployment, each.value.dimensions)
  statistic         = "Sum"
  period            = 60
  # Each sweep asks for a role that is denied anew: the alarm must not ring and end with each. CloudWatch looks back for a day at most.
  evaluation_periods  = each.key == "role-denied" ? min(1440, ceil(var.sweep_interval_seconds / 60) + 2) : 1
  datapoints_to_alarm = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"
  alarm_actions       = [local.topic_arn]
  ok_actions          = [local.topic_arn]
}

# Each sweep that finishes leaves one sample, whichever task made it. Two intervals without one are an alarm. An empty minute is
# filled with 0, as in the heartbeat: else CloudWatch would go on by what it saw before. Five minutes at least, since lines take a
# minute or two to become metrics. CloudWatch looks back for a day at most, and for a week by periods of an hour or more.
resource "aws_cloudwatch_metric_alarm" "sweep" {
  count = var.sweep_interval_seconds > 0 ? 1 : 0

  alarm_name          = "${var.name}-sweep"
  alarm_description   = "No sweep has finished in two intervals: a trail that was stopped without an event stays off, and nobody hears of it. Events are still acted on. The log says why: look for lines about the sweep, and for the state table. Until it is mended look at the trails yourself. See docs/runbook.md, trailkeeper-sweep."
  evaluation_periods  = 2
  comparison_operator = "LessThanThreshold"
  threshold           = 1
  treat_missing_data  = "breaching"
  alarm_actions       = [local.topic_arn]
  ok_actions          = [local.topic_arn]

  metric_query {
    id = "sweeps"

    metric {
      namespace   = "trailkeeper"
      metric_name = "trailkeeper_sweep_seconds"
      dimensions  = local.deployment
      stat        = "SampleCount"
      period      = max(300, 60 * ceil(var.sweep_interval_seconds / 60))
    }
  }

  metric_query {
    id          = "finished"
    label       = "Sweeps that finished"
    expression  = "FILL(sweeps, 0)"
    return_data = true
  }
}
