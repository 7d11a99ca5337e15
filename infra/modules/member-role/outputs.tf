output "template" {
  description = "The CloudFormation template, as JSON."
  value       = jsonencode(local.template)
}

output "stack_set_name" {
  description = "The stack set, if there is one: aws cloudformation list-stack-instances shows how far it got."
  value       = module.rollout.stack_set_name
}
