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
  target          = aws_sns_topic.alarms
  override_during = plan
  values          = { arn = "arn:aws:sns:eu-west-1:111122223333:trailkeeper-alarms" }
}

variables {
  queue             = { name = "trailkeeper" }
  dead_letter_queue = { name = "trailkeeper-dlq" }
  undelivered_queue = { name = "trailkeeper-undelivered" }
  rules = {
    default       = { bus = "default", name = "trailkeeper" }
    "default/iam" = { bus = "default", name = "trailkeeper-iam" }
    central       = { bus = "central", name = "trailkeeper" }
    "central/iam" = { bus = "central", name = "trailkeeper-iam" }
  }
  cluster_name           = "trailkeeper"
  service_name           = "trailkeeper"
  min_tasks              = 2
  sweep_interval_seconds = 300
}

run "alarms" {
  command = plan

  assert {
    condition = {
      for alarm in concat(values(aws_cloudwatch_metric_alarm.queue), values(aws_cloudwatch_metric_alarm.rule), values(aws_cloudwatch_metric_alarm.worker), [aws_cloudwatch_metric_alarm.state, aws_cloudwatch_metric_alarm.tasks]) :
      alarm.alarm_name => "${alarm.statistic} ${alarm.metric_name} of ${try(join("/", values(alarm.dimensions)), "everything")} ${alarm.comparison_operator} ${alarm.threshold} for ${alarm.evaluation_periods} x ${alarm.period} s, missing ${alarm.treat_missing_data}"
      } == {
      trailkeeper-dead-letters      = "Maximum ApproximateNumberOfMessagesVisible of trailkeeper-dlq GreaterThanThreshold 0 for 1 x 60 s, missing notBreaching"
      trailkeeper-undelivered       = "Maximum ApproximateNumberOfMessagesVisible of trailkeeper-undelivered GreaterThanThreshold 0 for 1 x 60 s, missing notBreaching"
      trailkeeper-backlog           = "Maximum ApproximateAgeOfOldestMessage of trailkeeper GreaterThanThreshold 120 for 1 x 60 s, missing notBreaching"
      trailkeeper-rule-default      = "Sum FailedInvocations of trailkeeper GreaterThanThreshold 0 for 1 x 60 s, missing notBreaching"
      trailkeeper-rule-default-iam  = "Sum FailedInvocations of trailkeeper-iam GreaterThanThreshold 0 for 1 x 60 s, missing notBreaching"
      trailkeeper-rule-central      = "Sum FailedInvocations of central/trailkeeper GreaterThanThreshold 0 for 1 x 60 s, missing notBreaching"
      trailkeeper-rule-central-iam  = "Sum FailedInvocations of central/trailkeeper-iam GreaterThanThreshold 0 for 1 x 60 s, missing notBreaching"
      trailkeeper-restore-refused   = "Sum trailkeeper_restore_total of trailkeeper/refused GreaterThanThreshold 0 for 1 x 60 s, missing notBreaching"
      trailkeeper-leases-lost       = "Sum trailkeeper_leases_lost_total of trailkeeper GreaterThanThreshold 0 for 1 x 60 s, missing notBreaching"
      trailkeeper-state-unavailable = "Minimum trailkeeper_state_available of trailkeeper LessThanThreshold 1 for 2 x 60 s, missing notBreaching"
      trailkeeper-tasks             = "SampleCount CPUUtilization of trailkeeper/trailkeeper LessThanThreshold 2 for 5 x 60 s, missing breaching"
    }
    error_message = "Each alarm looks at this."
  }

  assert {
    condition = alltrue([
      aws_cloudwatch_metric_alarm.heartbeat.treat_missing_data == "breaching",
      aws_cloudwatch_metric_alarm.heartbeat.comparison_operator == "LessThanThreshold",
      aws_cloudwatch_metric_alarm.heartbeat.threshold == 1,
      aws_cloudwatch_metric_alarm.heartbeat.evaluation_periods == 3,
      toset(flatten(aws_cloudwatch_metric_alarm.heartbeat.metric_query[*].metric[*].metric_name)) == toset(["NumberOfEmptyReceives", "NumberOfMessagesReceived"]),
      toset(flatten(aws_cloudwatch_metric_alarm.heartbeat.metric_query[*].metric[*].period)) == toset([60]),
      toset(flatten(aws_cloudwatch_metric_alarm.heartbeat.metric_query[*].metric[*].stat)) == toset(["Sum"]),
    ])
    error_message = "Three minutes in which nobody asks the queue are an alarm, and so is no word of it."
  }

  assert {
    condition = [for alarm in aws_cloudwatch_metric_alarm.sweep :
      "${one([for query in alarm.metric_query : query.expression if query.return_data == true])} ${alarm.comparison_operator} ${alarm.threshold} for ${alarm.evaluation_periods}, missing ${alarm.treat_missing_data}"
    ] == ["FILL(sweeps, 0) LessThanThreshold 1 for 2, missing breaching"]
    error_message = "Two intervals without a sweep are an alarm, and so is no word of any."
  }

  assert {
    condition = flatten([for alarm in aws_cloudwatch_metric_alarm.sweep : [for query in alarm.metric_query : [for metric in query.metric :
      "${query.id}: ${metric.stat} ${metric.namespace} ${metric.metric_name} of ${join(", ", [for name, value in metric.dimensions : "${name} ${value}"])}, each ${metric.period} s"
    ]]]) == ["sweeps: SampleCount trailkeeper trailkeeper_sweep_seconds of deployment trailkeeper, each 300 s"]
    error_message = "It counts this deployment's sweeps that finished, by the interval."
  }

  assert {
    condition = alltrue([
      for alarm in concat(
        values(aws_cloudwatch_metric_alarm.queue), values(aws_cloudwatch_metric_alarm.rule), values(aws_cloudwatch_metric_alarm.worker),
        aws_cloudwatch_metric_alarm.sweep, [aws_cloudwatch_metric_alarm.heartbeat, aws_cloudwatch_metric_alarm.state, aws_cloudwatch_metric_alarm.tasks],
      ) : alarm.alarm_actions == toset(["arn:aws:sns:eu-west-1:111122223333:trailkeeper-alarms"]) && alarm.ok_actions == alarm.alarm_actions
    ])
    error_message = "Each alarm tells the topic, and tells when it is over."
  }

  assert {
    condition = alltrue([
      for alarm in concat(
        values(aws_cloudwatch_metric_alarm.queue), values(aws_cloudwatch_metric_alarm.rule), values(aws_cloudwatch_metric_alarm.worker),
        aws_cloudwatch_metric_alarm.sweep, [aws_cloudwatch_metric_alarm.heartbeat, aws_cloudwatch_metric_alarm.state, aws_cloudwatch_metric_alarm.tasks],
      ) : endswith(alarm.alarm_description, " See docs/runbook.md, ${replace(alarm.alarm_name, "/-rule-.*/", "-rule-default")}.")
    ])
    error_message = "Each alarm names its place in the runbook, where all rules have one."
  }
}

run "member_role" {
  command = plan

  variables {
    member_role = { name = "trailkeeper-member", external_id = "trailkeeper" }
  }

  assert {
    condition = [
      for alarm in values(aws_cloudwatch_metric_alarm.worker) :
      "${alarm.statistic} ${alarm.metric_name} of ${join(", ", [for name, value in alarm.dimensions : "${name} ${value}"])} ${alarm.comparison_operator} ${alarm.threshold} for ${alarm.evaluation_periods} x ${alarm.period} s, missing ${alarm.treat_missing_data}"
      if alarm.alarm_name == "trailkeeper-role-denied"
    ] == ["Sum trailkeeper_assume_role_total of deployment trailkeeper, result denied GreaterThanThreshold 0 for 7 x 60 s, missing notBreaching"]
    error_message = "A role that the worker may not take is an alarm, which does not end with each sweep."
  }

  assert {
    condition     = endswith(aws_cloudwatch_metric_alarm.worker["role-denied"].alarm_description, " See docs/runbook.md, trailkeeper-role-denied.") && contains(output.alarm_names, "trailkeeper-role-denied")
    error_message = "It names its place in the runbook, and is among the others."
  }
}

# The longest that CloudWatch looks back: a day, and a week by periods of an hour or more.
run "sweep_each_day" {
  command = plan

  variables {
    sweep_interval_seconds = 86400
  }

  assert {
    condition     = flatten(aws_cloudwatch_metric_alarm.sweep[0].metric_query[*].metric[*].period) == [86400]
    error_message = "A day is a period."
  }
}

run "sweep_in_no_whole_minutes" {
  command = plan

  variables {
    sweep_interval_seconds = 1001
  }

  assert {
    condition     = flatten(aws_cloudwatch_metric_alarm.sweep[0].metric_query[*].metric[*].period) == [1020]
    error_message = "A period has whole minutes, and is no shorter than the interval."
  }
}

run "sweep_each_ten_seconds" {
  command = plan

  variables {
    sweep_interval_seconds = 10
  }

  assert {
    condition     = flatten(aws_cloudwatch_metric_alarm.sweep[0].metric_query[*].metric[*].period) == [300]
    error_message = "Metrics that come a minute or two late do not ring."
  }
}

run "no_sweep" {
  command = plan

  variables {
    sweep_interval_seconds = 0
  }

  assert {
    condition     = length(aws_cloudwatch_metric_alarm.sweep) == 0 && !contains(output.alarm_names, "trailkeeper-sweep")
    error_message = "What is not made is not missed."
  }
}

run "topic" {
  command = plan

  assert {
    condition = jsondecode(aws_sns_topic_policy.alarms[0].policy).Statement == [{
      Sid       = "AlarmsPublish"
      Effect    = "Allow"
      Principal = { Service = "cloudwatch.amazonaws.com" }
      Action    = "sns:Publish"
      Resource  = "arn:aws:sns:eu-west-1:111122223333:trailkeeper-alarms"
      Condition = { StringEquals = { "aws:SourceAccount" = "111122223333" } }
    }]
    error_message = "The alarms of this account may tell the topic, and nobody else."
  }
}

run "own_topic" {
  command = plan

  variables {
    alarm_topic_arn = "arn:aws:sns:eu-west-1:111122223333:on-call"
  }

  assert {
    condition     = length(aws_sns_topic.alarms) == 0 && output.alarm_topic_arn == "arn:aws:sns:eu-west-1:111122223333:on-call"
    error_message = "A topic that is there already is used."
  }
}

run "dashboard" {
  command = plan

  assert {
    condition     = length(jsondecode(aws_cloudwatch_dashboard.worker.dashboard_body).widgets) == 10
    error_message = "Ten widgets."
  }

  assert {
    condition = [for widget in slice(jsondecode(aws_cloudwatch_dashboard.worker.dashboard_body).widgets, 8, 10) : widget.properties.metrics] == [
      [
        ["trailkeeper", "trailkeeper_sweep_trails", "deployment", "trailkeeper", "state", "ok", { stat = "Maximum", label = "trails, ok" }],
        ["trailkeeper", "trailkeeper_sweep_trails", "deployment", "trailkeeper", "state", "stopped", { stat = "Maximum", label = "trails, stopped" }],
        ["trailkeeper", "trailkeeper_sweep_trails", "deployment", "trailkeeper", "state", "undelivered", { stat = "Maximum", label = "trails, undelivered" }],
        ["trailkeeper", "trailkeeper_sweep_accounts", "deployment", "trailkeeper", "result", "ok", { stat = "Sum", label = "accounts, ok" }],
        ["trailkeeper", "trailkeeper_sweep_accounts", "deployment", "trailkeeper", "result", "failed", { stat = "Sum", label = "accounts, failed" }],
      ],
      [
        ["trailkeeper", "trailkeeper_sweep_seconds", "deployment", "trailkeeper", { stat = "Maximum", label = "took, s" }],
        ["trailkeeper", "trailkeeper_sweep_finished_timestamp_seconds", "deployment", "trailkeeper", { stat = "Maximum", id = "finished", visible = false }],
        [{ expression = "EPOCH(finished) - finished", label = "since the last, s", yAxis = "right" }],
      ],
    ]
    error_message = "Sweeps are shown: trails, accounts, how long each took, and how long ago the last was."
  }

  assert {
    condition = alltrue([
      for shown in [
        ["AWS/Events", "FailedInvocations", "RuleName", "trailkeeper", { stat = "Sum", label = "FailedInvocations, default" }],
        ["AWS/Events", "FailedInvocations", "EventBusName", "central", "RuleName", "trailkeeper-iam", { stat = "Sum", label = "FailedInvocations, central/iam" }],
      ] : contains(jsondecode(aws_cloudwatch_dashboard.worker.dashboard_body).widgets[7].properties.metrics, shown)
    ])
    error_message = "Each rule is shown."
  }
}

run "refuses_what_cannot_work" {
  command = plan

  variables {
    name                   = "trailkeeper_alarms"
    alarm_topic_arn        = "on-call"
    sweep_interval_seconds = 86401
  }

  expect_failures = [var.name, var.alarm_topic_arn, var.sweep_interval_seconds]
}
