output "alarm_topic_arn" {
  description = "The topic that the alarms tell: subscribe to it."
  value       = local.topic_arn
}

output "alarm_names" {
  description = "Every alarm."
  value = concat(
    values(aws_cloudwatch_metric_alarm.queue)[*].alarm_name,
    values(aws_cloudwatch_metric_alarm.rule)[*].alarm_name,
    values(aws_cloudwatch_metric_alarm.worker)[*].alarm_name,
    aws_cloudwatch_metric_alarm.sweep[*].alarm_name,
    [for alarm in [aws_cloudwatch_metric_alarm.heartbeat, aws_cloudwatch_metric_alarm.state, aws_cloudwatch_metric_alarm.tasks] : alarm.alarm_name],
  )
}

output "dashboard_name" {
  description = "The CloudWatch dashboard."
  value       = aws_cloudwatch_dashboard.worker.dashboard_name
}
