output "api_destination_arn" {
  description = "Where the alerts go."
  value       = aws_cloudwatch_event_api_destination.slack.arn
}
