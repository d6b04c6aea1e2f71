output "instances" {
  description = "The zone of each instance."
  value       = { for name, instance in terraform_data.instance : name => instance.input.zone }
}
