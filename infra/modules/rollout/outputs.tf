output "stack_set_name" {
  description = "The stack set, if there is one: aws cloudformation list-stack-instances shows how far it got."
  value       = one(aws_cloudformation_stack_set.everywhere[*].name)
}
