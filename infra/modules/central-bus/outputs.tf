output "name" {
  description = "The bus's name, for pipeline's event_bus_names."
  value       = aws_cloudwatch_event_bus.central.name
}

output "arn" {
  description = "The bus's ARN, for the forwarders."
  value       = aws_cloudwatch_event_bus.central.arn
  # A forwarder that is there before the policy is loses events.
  depends_on = [aws_cloudwatch_event_bus_policy.organization]
}
